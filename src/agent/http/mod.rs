//! Outgoing HTTP: bounded, with deadlines, ended at once by the run's control. Knows nothing of models.

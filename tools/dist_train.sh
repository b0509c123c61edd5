#!/usr/bin/env bash
# Train on the GPUs of one node, or of several: the arguments are those of OpenMMLab's script of this name.
#
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh CONFIG 8 ...     on every node, with its own NODE_RANK
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
shift 2
case $GPUS in
    '' | *[!0-9]* | 0)
        echo "dist_train.sh: GPUS is '$GPUS': must be the number of processes on this node; usage: dist_train.sh CONFIG GPUS ..." >&2
        exit 2
        ;;
esac

TOOLS=$(dirname "${BASH_SOURCE[0]}")
# The environment that is active, else the one that `make install` made.
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python
    if [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$TOOLS/../.venv/bin/python" ]; then PYTHON=$TOOLS/../.venv/bin/python; fi
fi

# On one node the launcher finds a free port; several nodes must agree on one.
if [ -z "${NNODES:-}${MASTER_ADDR:-}${PORT:-}" ]; then
    MEETING=(--standalone)
else
    # Only the first node opens the port.
    if [ "${NODE_RANK:-0}" = 0 ] && ! "$PYTHON" -c 'import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("", int(sys.argv[1])))' "${PORT:-29500}" 2>/dev/null; then
        FREE=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
        echo "dist_train.sh: port ${PORT:-29500} is taken on this node, by another job perhaps, or is no port; give PORT=$FREE, the same on every node" >&2
        exit 2
    fi
    MEETING=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
fi

exec "$PYTHON" -m torch.distributed.run \
    "${MEETING[@]}" \
    --nproc_per_node="$GPUS" \
    "$TOOLS/train.py" "$CONFIG" --launcher pytorch "$@"

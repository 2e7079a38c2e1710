#!/bin/sh
# What the Makefile cannot do by itself: find a Python, and the programs that the tests run against.
#   tools/setup.sh venv DIR    make a virtual environment with Python 3.11 or newer
#   tools/setup.sh peers       make sure that QEMU, Xvnc, Chromium and the like are there
# As root on a Debian system it installs what is missing; otherwise it says what that is, and fails.
set -eu

# install PACKAGE...: from Debian, if that can be done here.
install() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing Debian packages: $*" >&2
        DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND
        apt-get update -qq >&2
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        echo "Missing. On Debian, run as root:  apt-get install --no-install-recommends $*" >&2
        exit 1
    fi
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

make_venv() {
    python=$(find_python)
    if [ -z "$python" ]; then
        install python3 python3-venv
        python=$(find_python)
        [ -n "$python" ] || { echo "There is no Python 3.11 or newer on this machine." >&2; exit 1; }
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$python cannot make virtual environments." >&2
        install python3-venv
    fi
    "$python" -m venv "$1"
}

# Program and the Debian package that brings it, one pair a line.
PEERS='
qemu-system-x86_64 qemu-system-x86
Xvnc               tigervnc-standalone-server
chromium           chromium
xterm              xterm
Xtightvnc          tightvncserver
wayvnc             wayvnc
sway               sway
foot               foot
grim               grim
openssl            openssl
'

# A library that the Node.js inside PyPI's playwright is linked with.
has_libatomic() {
    "$(find_python)" -c 'import ctypes; ctypes.CDLL("libatomic.so.1")' 2>/dev/null
}

find_peers() {
    missing=$(
        echo "$PEERS" | while read -r program package; do
            [ -z "$program" ] || command -v "$program" >/dev/null || echo "$package"
        done | sort -u
        has_libatomic || echo libatomic1
        [ -d /usr/share/fonts/X11/misc ] || echo xfonts-base # Xtightvnc does not start without its fonts
        [ -d /usr/share/fonts/truetype/dejavu ] || echo fonts-dejavu-core
    )
    # shellcheck disable=SC2086 # one word a package
    [ -z "$missing" ] || install $missing
}

case "${1-}" in
    venv) make_venv "$2" ;;
    peers) find_peers ;;
    *) sed -n '2,5s/^# *//p' "$0" >&2; exit 2 ;;
esac

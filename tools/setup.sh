#!/bin/sh
# What the Makefile cannot do by itself: find a Python, and the programs that the tests run against.
#   tools/setup.sh venv DIR    make a virtual environment with Python 3.11 or newer
#   tools/setup.sh peers       make sure that QEMU, Xvnc, the browsers and the like are there
#   tools/setup.sh bench       make sure that the benchmark's load generators can be compiled
#   tools/setup.sh systemvm    likewise, what the system VM is built and tested with
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
firefox-esr        firefox-esr
WebKitWebDriver    webkit2gtk-driver
Xvfb               xvfb
xclip              xclip
vncconfig          tigervnc-common
xterm              xterm
setxkbmap          x11-xkb-utils
Xtightvnc          tightvncserver
wayvnc             wayvnc
sway               sway
foot               foot
grim               grim
openssl            openssl
libvirtd           libvirt-daemon-system
virsh              libvirt-clients
gcc                gcc
pkg-config         pkg-config
nginx              nginx-light
haproxy            haproxy
systemd-analyze    systemd
faketime           faketime
ip                 iproute2
nft                nftables
'

# The Linux guest's parts: a file in a Debian package, and what the tests call it.
GUEST='
boot/vmlinuz-*       vmlinuz
bin/busybox          busybox
bin/loadkeys         loadkeys
usr/bin/ckbcomp      ckbcomp
'

# They are taken out of their packages and not installed: a kernel would become the one this machine starts with.
fetch_guest() (
    parts=${XDG_CACHE_HOME:-$HOME/.cache}/trio-cpvm/linux-guest
    for name in $(echo "$GUEST" | awk '{ print $2 }'); do
        [ -e "$parts/$name" ] || { set -- missing; break; }
    done
    [ $# -gt 0 ] || exit 0
    echo "Taking a Linux guest's parts out of Debian packages" >&2
    command -v apt-get >/dev/null || { echo "This needs apt-get. The tests look for them in $parts." >&2; exit 1; }
    [ "$(id -u)" != 0 ] || apt-get update -qq >&2
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
    [ -n "$kernel" ] || { echo "apt knows no linux-image-cloud-amd64: run  apt-get update  as root." >&2; exit 1; }
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    chmod 755 "$folder"
    cd "$folder"
    apt-get download -qq -o APT::Sandbox::User=root "$kernel" busybox-static kbd console-setup
    for package in *.deb; do
        dpkg-deb --extract "$package" .
    done
    mkdir -p "$parts"
    echo "$GUEST" | while read -r file name; do
        # shellcheck disable=SC2086 # the pattern is meant
        [ -z "$file" ] || cp $file "$parts/$name"
    done
)

# A library that the Node.js inside PyPI's playwright is linked with.
has_libatomic() {
    "$(find_python)" -c 'import ctypes; ctypes.CDLL("libatomic.so.1")' 2>/dev/null
}

# What libvirt-python is built with: the C headers of this Python (only Debian's own come apart from it) ...
has_python_headers() {
    "$(find_python)" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null
}

# ... and libvirt's.
has_libvirt_headers() {
    pkg-config --exists libvirt 2>/dev/null
}

# What the benchmark's load generators are compiled with: gcc, the C library's headers and OpenSSL's.
missing_for_generators() {
    command -v gcc >/dev/null || echo gcc
    command -v openssl >/dev/null || echo openssl
    echo '#include <stdio.h>' | gcc -E -x c - >/dev/null 2>&1 || echo libc6-dev
    echo '#include <openssl/ssl.h>' | gcc -E -x c - >/dev/null 2>&1 || echo libssl-dev
}

find_bench() {
    missing=$(missing_for_generators | sort -u)
    # shellcheck disable=SC2086 # one word a package
    [ -z "$missing" ] || install $missing
}

# missing_of TABLE: the packages of the programs in it that are not there; some are where only root looks.
missing_of() (
    PATH=$PATH:/usr/sbin:/sbin
    echo "$1" | while read -r program package; do
        [ -z "$program" ] || command -v "$program" >/dev/null || echo "$package"
    done | sort -u
)

# What builds the system VM, and what its tests look into it with.
SYSTEMVM='
mmdebstrap         mmdebstrap
dpkg-scanpackages  dpkg-dev
xorriso            xorriso
mke2fs             e2fsprogs
grub-mkimage       grub-common
qemu-img           qemu-utils
qemu-system-x86_64 qemu-system-x86
unshare            util-linux
mount              mount
ssh                openssh-client
'

find_systemvm() {
    missing=$(
        missing_of "$SYSTEMVM"
        [ -e /usr/lib/grub/i386-pc/boot.img ] || echo grub-pc-bin
        [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || echo debian-archive-keyring
    )
    # shellcheck disable=SC2086 # one word a package
    [ -z "$missing" ] || install $missing
}

find_peers() {
    missing=$(
        missing_of "$PEERS"
        has_libatomic || echo libatomic1
        has_python_headers || echo python3-dev
        has_libvirt_headers || echo libvirt-dev
        [ -d /usr/share/fonts/X11/misc ] || echo xfonts-base # Xtightvnc does not start without its fonts
        [ -d /usr/share/X11/xkb ] || echo xkb-data
        [ -d /usr/share/fonts/truetype/dejavu ] || echo fonts-dejavu-core
        missing_for_generators
    )
    # shellcheck disable=SC2086 # one word a package
    [ -z "$missing" ] || install $missing
}

case "${1-}" in
    venv) make_venv "$2" ;;
    peers) find_peers; fetch_guest ;;
    bench) find_bench ;;
    systemvm) find_systemvm ;;
    *) sed -n '2,7s/^# *//p' "$0" >&2; exit 2 ;;
esac

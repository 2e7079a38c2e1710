"""The guest QEMU runs: one boot sector that prints a banner, shows the colours and echoes what is typed.

The cursor is hidden, because a blinking one would make two pictures of the same screen differ. The program is given
as bytes with the instruction beside them, so that no assembler is needed.
"""

from __future__ import annotations

#: What the guest prints when it is ready for keys.
BANNER = "trio-cpvm guest ready"

#: Text mode: 80 columns, 25 lines; two bytes a character (the character, its colours) from this address on.
COLUMNS, LINES = 80, 25
TEXT_ADDRESS = 0xB8000
TEXT_BYTES = COLUMNS * LINES * 2

_ORIGIN = 0x7C00
_SECTOR_BYTES = 512
_SIGNATURE = b"\x55\xaa"

_SETUP = bytes.fromhex(
    "31c0"  #     xor  ax, ax
    "8ed8"  #     mov  ds, ax
    "8ed0"  #     mov  ss, ax
    "bc007c"  #   mov  sp, 0x7c00         ; the stack grows down from here
    "fc"  #       cld
    "fb"  #       sti
    "b80300"  #   mov  ax, 0x0003         ; 80x25 text
    "cd10"  #     int  0x10
    "b401"  #     mov  ah, 0x01           ; cursor shape:
    "b90020"  #   mov  cx, 0x2000         ;   none
    "cd10"  #     int  0x10
    # Every foreground on every background: 128 letters from line 22 on (bit 7 would blink).
    "b800b8"  #   mov  ax, 0xb800
    "8ec0"  #     mov  es, ax
    "bfc00d"  #   mov  di, 22 * 160
    "b84100"  #   mov  ax, 0x0041         ; ah: colours, al: 'A'
    # paint:
    "ab"  #       stosw
    "fec4"  #     inc  ah
    "80fc80"  #   cmp  ah, 128
    "75f8"  #     jne  paint              ; -8
)
_PRINT = bytes.fromhex(
    # print: (si is the banner)
    "ac"  #       lodsb
    "84c0"  #     test al, al
    "7409"  #     jz   key                ; +9
    "b40e"  #     mov  ah, 0x0e           ; teletype
    "bb0700"  #   mov  bx, 0x0007
    "cd10"  #     int  0x10
    "ebf2"  #     jmp  print              ; -14
    # key:
    "30e4"  #     xor  ah, ah             ; wait for a key: al = its character
    "cd16"  #     int  0x16
    "84c0"  #     test al, al             ; cursor and function keys have none
    "74f8"  #     jz   key                ; -8
    # echo:
    "50"  #       push ax
    "b40e"  #     mov  ah, 0x0e
    "bb0700"  #   mov  bx, 0x0007
    "cd10"  #     int  0x10
    "58"  #       pop  ax
    "3c0d"  #     cmp  al, 13             ; Enter: the line feed as well
    "75eb"  #     jne  key                ; -21
    "b00a"  #     mov  al, 10
    "ebef"  #     jmp  echo               ; -17
)


def boot_sector() -> bytes:
    """The 512 bytes of the disk's first sector."""
    text_at = _ORIGIN + len(_SETUP) + 3 + len(_PRINT)
    load_text = b"\xbe" + text_at.to_bytes(2, "little")  # mov si, banner
    program = _SETUP + load_text + _PRINT + BANNER.encode("ascii") + b"\r\n\0"
    return program.ljust(_SECTOR_BYTES - len(_SIGNATURE), b"\0") + _SIGNATURE


def text_lines(memory: bytes) -> list[str]:
    """What stands on the screen, from a copy of the text memory; without trailing blanks."""
    characters = memory[0:TEXT_BYTES:2].decode("cp437").replace("\0", " ")
    return [characters[start : start + COLUMNS].rstrip() for start in range(0, len(characters), COLUMNS)]

"""RFB (RFC 6143 and rfbproto), sans-I/O: bytes in, commands and bytes out. No trio in here."""

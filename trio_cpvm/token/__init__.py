"""The token: CloudStack's encrypted console target, sealed and opened. Sans-I/O; no trio in here."""

from .codec import TokenInvalid, TokenReader, mint_token, new_session_uuid, open_token, seal_token
from .fields import TargetInvalid, target_from_json, target_to_json
from .keys import TokenKey, read_key_file, write_key_file

__all__ = [
    "TargetInvalid",
    "TokenInvalid",
    "TokenKey",
    "TokenReader",
    "mint_token",
    "new_session_uuid",
    "open_token",
    "read_key_file",
    "seal_token",
    "target_from_json",
    "target_to_json",
    "write_key_file",
]

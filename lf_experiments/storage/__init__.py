"""Files and folders that are whole or not there, locks between processes, and names made of content.

It knows nothing of what it stores.
"""

from lf_experiments.storage.digests import DigestStore, file_digest, files_fingerprint, fingerprint
from lf_experiments.storage.disk import DISK_REFUSALS, named_disk_errors
from lf_experiments.storage.files import append_line, remove_half_written, write_json, write_text, written_whole
from lf_experiments.storage.folders import made_once, writing_problem
from lf_experiments.storage.locks import locked, locked_if_possible
from lf_experiments.storage.room import digest_path, evict, mark_used

__all__ = [
    "DISK_REFUSALS",
    "DigestStore",
    "append_line",
    "digest_path",
    "evict",
    "file_digest",
    "files_fingerprint",
    "fingerprint",
    "locked",
    "locked_if_possible",
    "made_once",
    "mark_used",
    "named_disk_errors",
    "remove_half_written",
    "write_json",
    "write_text",
    "writing_problem",
    "written_whole",
]

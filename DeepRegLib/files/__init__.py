"""Files that are whole or not there: one, several that belong together, a folder of them, a result."""

from DeepRegLib.files.writing import (
    check_name,
    check_new_folder,
    make_folder,
    output_error,
    write_atomically,
    write_folder,
    write_text,
    write_together,
)

__all__ = [
    "check_name",
    "check_new_folder",
    "make_folder",
    "output_error",
    "write_atomically",
    "write_folder",
    "write_text",
    "write_together",
]

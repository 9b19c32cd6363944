//! Accounting: whether every record ended in exactly one place.

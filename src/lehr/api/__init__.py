"""What commands do, as functions: `lehr.train` and `lehr.sweep`. Nothing here reads sys.argv or prints results."""

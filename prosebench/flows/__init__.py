"""What all flows share: conditions, orders, local coordinates, sizes, weight files, diagnostics and export."""

"""Tables as data and as text: the main table, comparisons, the paper's own layout."""

"""Script text to the syntax tree: the grammar, the nodes, the parser and the splitting of predicates."""

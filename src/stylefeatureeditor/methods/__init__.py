"""The methods of the paper's Table 1, each a file: photo -> inversion -> edited photo."""

"""Reports as pages: one HTML file each that needs nothing beside it and nothing from the network."""

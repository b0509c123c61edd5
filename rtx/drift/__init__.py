"""Where in the network clean and corrupted features, and source and transferred ones, part."""

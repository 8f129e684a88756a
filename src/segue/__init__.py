"""segue: semantic segmentation from paper to pixels."""

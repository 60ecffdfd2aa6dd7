"""The images that requests name: from `data:` URLs, and from allowed hosts alone."""

"""Memory: what a model takes, worked out before any of it is downloaded.

architecture  what a config.json says, under one set of names
defaults      what a config.json leaves out
header        the same from a GGUF header, and what engines make of its tensors
parameters    how many numbers a model has, and which of them 4-bit and 8-bit pack
weights       bytes of the weights
kv_cache      bytes of the KV cache
activations   bytes of one forward pass
footprint     the peak of one engine: process, weights, cache, activations
device        what this machine, or a named GPU, has
verdict       fits, fits at 4-bit, does not fit; the longest context, the largest batch
measured      what loads took in truth, and predictions corrected by it
facts         what is known of one model, out of its files
remote        the same before any download, out of a few kilobytes of the Hub
predict       the peak of a model whose files are here, for the pool
"""

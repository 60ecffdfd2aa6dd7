"""Memory: what a model takes, worked out before any of it is downloaded.

architecture  what a config.json or a GGUF header says, under one set of names
defaults      what a config.json leaves out
parameters    how many numbers a model has, and which of them 4-bit and 8-bit pack
weights       bytes of the weights
kv_cache      bytes of the KV cache
activations   bytes of one forward pass
footprint     the peak of one engine: process, weights, cache, activations
device        what this machine, or a named GPU, has
verdict       fits, fits at 4-bit, does not fit; the longest context, the largest batch
measured      what loads took in truth, and predictions corrected by it
facts         all of the above's input for one model of the catalogue
"""

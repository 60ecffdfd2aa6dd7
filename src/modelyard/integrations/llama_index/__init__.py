"""LlamaIndex on our models: an LLM, embeddings, and an equal of its HuggingFaceLLM.

    from llama_index.core import Settings
    from modelyard.integrations.llama_index import ModelyardEmbedding, ModelyardLLM

    Settings.llm = ModelyardLLM(model="smollm2-135m", max_tokens=256)
    Settings.embed_model = ModelyardEmbedding(model="BAAI/bge-small-en-v1.5")
    Settings.tokenizer = Settings.llm.tokenizer  # else LlamaIndex counts with GPT's tokens, and fetches them

It needs llama-index-core alone. Structured answers are made under the schema, whichever of LlamaIndex's ways asks
for them: `structured_predict`, `as_structured_llm`, or a `SchemaProgram`.
"""

from modelyard.integrations.llama_index.embedding import ModelyardEmbedding
from modelyard.integrations.llama_index.huggingface import HuggingFaceLLM
from modelyard.integrations.llama_index.llm import ModelyardLLM
from modelyard.integrations.llama_index.program import SchemaProgram

__all__ = ["HuggingFaceLLM", "ModelyardEmbedding", "ModelyardLLM", "SchemaProgram"]

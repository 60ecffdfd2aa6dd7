"""LangChain on our models, with `langchain-core` alone.

    from modelyard.integrations.langchain import ChatModelyard

    chat = ChatModelyard(model="smollm2-135m", temperature=0, max_tokens=64)
    chat.invoke("What is the capital of France?").content

`ChatModelyard` is a chat model, `ModelyardLLM` a text model, `ModelyardEmbeddings` gives vectors. Models are loaded
through modelyard's pool, so that all of them share what is loaded. `HuggingFaceOpenLLM` and `HuggingFaceImageLLM` take
the arguments of the classes of those names that users had before; docs/decisions/0024-langchain.md says what differs.
"""

from modelyard.integrations.langchain.chat import ChatModelyard
from modelyard.integrations.langchain.embeddings import ModelyardEmbeddings
from modelyard.integrations.langchain.image_llm import HuggingFaceImageLLM
from modelyard.integrations.langchain.llm import ModelyardLLM
from modelyard.integrations.langchain.open_llm import HuggingFaceOpenLLM

__all__ = [
    "ChatModelyard",
    "HuggingFaceImageLLM",
    "HuggingFaceOpenLLM",
    "ModelyardEmbeddings",
    "ModelyardLLM",
]

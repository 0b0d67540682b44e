"""The parts of `llm_fewshot.py`: what is asked, of whom, and how an answer becomes a label."""

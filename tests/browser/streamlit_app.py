"""A Streamlit script that counts its runs and waits amid each, in a folder that its page names, until it is let on."""

import os
import time
from pathlib import Path

import streamlit as st

scratch = Path(os.environ["SCRATCH"]) / st.query_params["tag"]
scratch.mkdir(exist_ok=True)


def count(name: str) -> None:
    """One more of these."""
    with (scratch / name).open("a") as file:
        file.write(".")


count("begun")
pressed = st.button("Again")
st.session_state.presses = st.session_state.get("presses", 0) + pressed
st.write(f"presses: {st.session_state.presses}")
# over 10 kB: sent whole once, and later runs refer to it by its hash
st.code("large " * 2_000)
bar = st.progress(0.0)
for step in (1, 2, 3):
    bar.progress(step / 3, text=f"at step {step}")
    while step == 2 and not (scratch / f"go-{st.session_state.presses}").exists():
        time.sleep(0.02)
    st.write(f"step {step} is done")
count("ended")
st.success("all is done")

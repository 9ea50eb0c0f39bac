// The page around the two halves: its buttons act on both.

const PROMPT = 'My build fails at the link step. Can you fix it?';

document.querySelector('#ask-both').addEventListener('click', () => {
  for (const half of document.querySelectorAll('iframe')) {
    half.contentWindow.postMessage({ ask: PROMPT }, location.origin);
  }
});

document.querySelector('#reload-page').addEventListener('click', () => location.reload());

// The conversation on screen. It is rebuilt from the agent's messages alone: the page keeps nothing.

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
};

export class Transcript {
  #root;
  #announce;
  #decide;
  // Where the next token goes, the call on screen, and whether a turn runs.
  #turn = null;
  #paragraph = null;
  #call = null;
  #busy = false;

  /**
   * @param root the element that scrolls
   * @param announce says a sentence to a screen reader
   * @param decide sends {type: 'approve' | 'deny', id}
   */
  constructor(root, announce, decide) {
    this.#root = root;
    this.#announce = announce;
    this.#decide = decide;
  }

  get busy() {
    return this.#busy;
  }

  get empty() {
    return this.#turn === null;
  }

  /** Shows one message of the agent. */
  show(message) {
    const atEnd = this.#root.scrollHeight - this.#root.scrollTop - this.#root.clientHeight < 48;
    this[`_${message.type}`]?.(message);
    if (atEnd) this.#root.scrollTop = this.#root.scrollHeight;
  }

  /** Shows what stands in an empty conversation. */
  hint(text) {
    if (this.empty && this.#root.textContent !== text) this.#root.replaceChildren(element('p', 'hint', text));
  }

  /** Lets the person decide (again) about a call that waits, or not while nobody would hear it. */
  allowDecision(allowed) {
    if (this.#call) this.#call.querySelector('fieldset').disabled = !allowed;
  }

  /** Ends what is on screen: the agent that said it has forgotten it. */
  abandon() {
    if (this.#busy) this.#turn.append(element('p', 'mark bad', 'The agent cancelled this turn.'));
    this.#settle('Gone');
    this.#busy = false;
  }

  /** Shows that messages are missing. */
  gap(count) {
    (this.#turn ?? this.#root).append(element('p', 'mark bad', `${count} messages are missing here.`));
    this.#paragraph = null;
  }

  _turn_started({ prompt }) {
    if (this.empty) this.#root.replaceChildren();
    this.#root.append(element('p', 'prompt', prompt));
    this.#begin();
    this.#announce('The agent is answering.');
  }

  _token({ text }) {
    if (!this.#turn) this.#begin();
    if (!this.#paragraph) {
      this.#paragraph = element('p');
      this.#turn.append(this.#paragraph);
    }
    this.#paragraph.append(text);
  }

  _approval_needed({ id, tool, command }) {
    if (!this.#turn) this.#begin();
    const call = element('section', 'call');
    call.dataset.call = id;
    call.setAttribute('aria-label', `Tool call: ${tool}`);
    call.append(element('h2', '', 'Approval needed'), element('p', 'tool', tool), element('code', '', command));
    const choice = element('fieldset');
    choice.append(element('legend', 'unseen', `Run ${command}?`));
    for (const [type, label, look] of [['approve', 'Approve', 'primary'], ['deny', 'Deny', '']]) {
      const button = element('button', look, label);
      button.type = 'button';
      button.addEventListener('click', () => {
        choice.disabled = true;
        this.#root.focus({ preventScroll: true });
        this.#decide({ type, id });
      });
      choice.append(button);
    }
    call.append(choice);
    this.#turn.append(call);
    this.#call = call;
    this.#paragraph = null;
    this.#announce(`Approval needed: ${command}`);
  }

  _tool_started({ id }) {
    this.#settle('Approved, running', id, 'running');
  }

  _tool_output({ id, text }) {
    const call = this.#root.querySelector(`[data-call="${CSS.escape(id)}"]`);
    if (call) {
      call.className = 'call good';
      call.querySelector('h2').textContent = 'Approved, done';
      call.append(element('pre', '', text));
    }
    this.#announce('The tool has run.');
  }

  _tool_denied({ id }) {
    this.#settle('Denied', id);
  }

  _turn_finished() {
    this.#busy = false;
    this.#paragraph = null;
    this.#announce('The agent has finished.');
  }

  _refused({ reason }) {
    this.#announce(`The agent refused: ${reason}.`);
  }

  #begin() {
    this.#turn = element('article');
    this.#root.append(this.#turn);
    this.#paragraph = null;
    this.#busy = true;
  }

  // Takes the buttons off the call that waited.
  #settle(title, id = this.#call?.dataset.call, look = 'over') {
    if (!this.#call || this.#call.dataset.call !== id) return;
    this.#call.className = `call ${look}`;
    this.#call.querySelector('h2').textContent = title;
    this.#call.querySelector('fieldset').remove();
    this.#call = null;
  }
}

// A zone field: an editable combobox with a list, after the WAI-ARIA Authoring Practices.
// The first match is highlighted while typing; Enter, Tab or leaving the field selects it.
// (A datalist cannot match both number and borough, and shows only a few rows on phones.)

export class ZoneField {
  /**
   * @param {HTMLInputElement} input
   * @param {import('./zone_search.js').Zones} zones
   * @param {() => void} changed Called when the zone or text has changed.
   * @param {(text: string) => void} announce Announces the number of zones found.
   */
  constructor(input, zones, changed, announce) {
    this.input = input;
    this.button = input.parentElement.querySelector('button');
    this.list = input.parentElement.querySelector('[role=listbox]');
    this.changed = changed;
    this.announce = announce;
    this.zones = zones;
    this.zone = null;
    this.active = -1;
    this.moved = false;
    this.options = [];
    input.addEventListener('input', () => this.typed());
    input.addEventListener('keydown', (event) => this.pressed(event));
    input.addEventListener('focus', () => input.select());
    input.addEventListener('blur', () => this.left());
    input.addEventListener('click', () => this.isOpen || this.open(''));
    this.button.addEventListener('pointerdown', (event) => event.preventDefault());
    this.button.addEventListener('click', () => this.toggle());
    this.list.addEventListener('pointerdown', (event) => event.preventDefault());
    this.list.addEventListener('click', (event) => this.clicked(event));
  }

  get isOpen() {
    return !this.list.hidden;
  }

  /** The zone's number, or the text if it is not a zone. */
  get value() {
    return this.zone ?? this.input.value.trim();
  }

  set value(value) {
    const found = this.zones.find(String(value));
    this.zone = found?.zone ?? null;
    this.input.value = found ? this.zones.shown(found.zone) : String(value);
    this.close();
  }

  /** Set the zones once their names are loaded. */
  rename(zones) {
    this.zones = zones;
    if (document.activeElement !== this.input) this.value = this.value;
  }

  typed() {
    this.zone = null;
    this.open(this.input.value, true);
    this.changed();
  }

  open(text, highlight = false) {
    if (!this.zones.zones.length) return;
    const found = this.zones.matching(text);
    this.options = found;
    this.list.replaceChildren(...(found.length ? found.map((zone, at) => this.row(zone, at)) : [nothing(text)]));
    this.list.hidden = false;
    this.expanded(true);
    const chosen = found.findIndex(({ zone }) => zone === this.zone);
    this.highlight(highlight && text.trim() && found.length ? 0 : chosen);
    if (highlight) this.announce(found.length === 1 ? '1 zone found' : `${found.length} zones found`);
  }

  close() {
    this.list.hidden = true;
    this.expanded(false);
    this.active = -1;
    this.moved = false;
    this.input.removeAttribute('aria-activedescendant');
  }

  expanded(whether) {
    for (const element of [this.input, this.button]) element.setAttribute('aria-expanded', String(whether));
  }

  toggle() {
    this.input.focus();
    if (this.isOpen) this.close();
    else this.open('');
  }

  row({ zone, name, borough }, at) {
    const row = document.createElement('li');
    row.id = `${this.list.id}-${at}`;
    row.role = 'option';
    row.dataset.at = at;
    row.setAttribute('aria-selected', String(zone === this.zone));
    row.append(element('span', 'name', name), element('span', 'place', `${borough}, zone ${zone}`));
    return row;
  }

  highlight(at) {
    this.list.children[this.active]?.classList.remove('active');
    this.active = at;
    const row = at < 0 ? null : this.list.children[at];
    if (!row) return this.input.removeAttribute('aria-activedescendant');
    row.classList.add('active');
    row.scrollIntoView({ block: 'nearest' });
    this.input.setAttribute('aria-activedescendant', row.id);
  }

  pressed(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (!this.isOpen) this.open('');
      else if (this.options.length) {
        const next = this.active < 0 && step < 0 ? -1 : this.active + step;
        this.highlight((next + this.options.length) % this.options.length);
      }
      if (this.active < 0 && this.options.length) this.highlight(0);
      this.moved = this.active >= 0;
    } else if (event.key === 'Enter' && this.isOpen && this.active >= 0) {
      event.preventDefault();
      this.take(this.active);
    } else if (event.key === 'Escape' && this.isOpen) {
      event.preventDefault();
      this.close();
    }
  }

  clicked(event) {
    const row = event.target.closest('[data-at]');
    if (row) this.take(Number(row.dataset.at));
  }

  take(at) {
    this.zone = this.options[at].zone;
    this.input.value = this.zones.shown(this.zone);
    this.close();
    this.changed();
  }

  left() {
    if (this.isOpen && this.active >= 0 && (this.moved || this.zone === null)) this.take(this.active);
    else if (this.zone === null) {
      const found = this.zones.find(this.input.value);
      if (found) {
        this.value = found.zone;
        this.changed();
      }
    }
    this.close();
  }
}

function nothing(text) {
  const row = element('li', 'nothing', `No zone matches “${text.trim()}”`);
  row.role = 'option';
  row.setAttribute('aria-disabled', 'true');
  row.setAttribute('aria-selected', 'false');
  return row;
}

function element(tag, name, text) {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

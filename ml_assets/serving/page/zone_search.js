// Finds taxi zones by any part of name or borough, or by number.

/** Lower case, without accents and punctuation: “Governor’s” is found by “governors”. */
const plain = (text) =>
  text.normalize('NFD').replace(/[\u0300-\u036f'’‘`.]/g, '').toLowerCase().replace(/[^\p{L}\p{N}]+/gu, ' ').trim();

export class Zones {
  /** @param {{zone: number, name: string, borough: string}[]} zones */
  constructor(zones) {
    this.zones = [...zones].sort((a, b) => a.name.localeCompare(b.name, 'en') || a.zone - b.zone);
    this.byNumber = new Map(zones.map((zone) => [zone.zone, zone]));
    this.texts = new Map(this.zones.map((zone) => [zone, plain(`${zone.name} ${zone.borough}`)]));
  }

  /** The label of a zone, with its number, since names are not unique. */
  shown(number) {
    const found = this.byNumber.get(number);
    return found ? `${found.name} (${number})` : String(number);
  }

  name(number) {
    return this.byNumber.get(number)?.name ?? `zone ${number}`;
  }

  /** Zones that match each word, best first; all zones for an empty text. */
  matching(text) {
    const query = plain(text);
    if (!query) return this.zones;
    const words = query.split(' ');
    return this.zones
      .map((zone) => ({ zone, rank: this.rank(zone, query, words) }))
      .filter(({ rank }) => rank < Infinity)
      .sort((a, b) => a.rank - b.rank)
      .map(({ zone }) => zone);
  }

  rank(zone, query, words) {
    const text = this.texts.get(zone);
    const number = String(zone.zone);
    if (query === number || query === plain(this.shown(zone.zone))) return 0;
    if (!words.every((word) => text.includes(word) || number.startsWith(word))) return Infinity;
    if (text.startsWith(query)) return 1;
    return words.every((word) => ` ${text}`.includes(` ${word}`)) ? 2 : 3;
  }

  /** The zone of a number or label, or null. */
  find(text) {
    const number = /^\s*(\d{1,3})\s*$|\((\d{1,3})\)\s*$/.exec(text);
    const found = number && this.byNumber.get(Number(number[1] ?? number[2]));
    if (!found) return null;
    return number[1] !== undefined || plain(text) === plain(this.shown(found.zone)) ? found : null;
  }
}

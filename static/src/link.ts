// The link that opened the page: what it says, and the two addresses that are made from it.

export interface Link {
  /** Opens one console. Empty where the link carries none. */
  readonly token: string;
  /** The extra security token, where the platform uses one. */
  readonly extra: string | null;
  /** Draw a dot where the machine shows no pointer. */
  readonly showDot: boolean;
  /** The guest's keyboard where CloudStack's host is a VMware one, which takes keys by their US meaning; else empty. */
  readonly language: string;
  /** The guest runs Windows, says CloudStack. */
  readonly windows: boolean;
}

/** Undo percent-encoding, and only that: tokens are base64, so a "+" stays a "+". */
function decoded(raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw;
  }
}

/** Read a query string. `URLSearchParams` would turn each "+" of a token into a space. */
export function readLink(search: string): Link {
  const values = new Map<string, string>();
  for (const pair of search.replace(/^\?/, "").split("&")) {
    const equals = pair.indexOf("=");
    const name = decoded(equals < 0 ? pair : pair.slice(0, equals));
    if (!values.has(name)) {
      values.set(name, equals < 0 ? "" : decoded(pair.slice(equals + 1)));
    }
  }
  return {
    token: values.get("token") ?? "",
    extra: values.get("extra") ?? null,
    showDot: values.get("show_dot") === "true",
    language: values.get("language") ?? "",
    windows: values.get("guest") === "windows",
  };
}

/** Take the query out of the address bar and the history entry, so that the token is not shown, kept or shared. */
export function hideLink(): void {
  history.replaceState(null, "", location.pathname);
}

function query(link: Link): string {
  const token = `token=${encodeURIComponent(link.token)}`;
  return link.extra === null ? token : `${token}&extra=${encodeURIComponent(link.extra)}`;
}

/** Where the console's WebSocket is: always this page's own host. */
export function socketAddress(link: Link): string {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.host}/websockify?${query(link)}`;
}

/** Where the proxy says whether the token can be used. */
export function statusAddress(link: Link): string {
  return `/novnc/status?${query(link)}`;
}

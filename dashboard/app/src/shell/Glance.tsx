import { useHosts, useWebSocket } from "@fleetcast/client/react";
import { useEffect, useRef, useState } from "react";
import { useLocation } from "wouter";
import { inTrouble } from "../lib/trouble.ts";
import { atMostEvery } from "./announce.ts";
import { isLost } from "./connection.ts";
import { faviconOf, pageName, spoken, titleOf } from "./trouble.ts";

const ANNOUNCE_EVERY_MS = 10_000;

/** The tab's title and icon, and the same in words for those who hear the page. */
export function Glance() {
  const status = useWebSocket();
  const hosts = useHosts().data?.hosts;
  const [path] = useLocation();
  const trouble = status.state === "signed-out" ? 0 : (hosts?.filter(inTrouble).length ?? 0);
  const lost = isLost(status);
  const isKnown = lost || (status.state === "open" && hosts !== undefined);

  useEffect(() => {
    document.title = titleOf({ trouble, lost }, pageName(path));
  }, [trouble, lost, path]);

  const isTroubled = trouble > 0;
  useEffect(() => {
    const link = document.querySelector<HTMLLinkElement>("link[rel=icon]");
    if (link) link.href = lost || isTroubled ? faviconOf({ trouble: isTroubled ? 1 : 0, lost }) : "/favicon.svg";
  }, [isTroubled, lost]);

  const [text, setText] = useState("");
  const announcer = useRef<ReturnType<typeof atMostEvery>>(null);
  useEffect(() => {
    const made = atMostEvery(ANNOUNCE_EVERY_MS, setText);
    announcer.current = made;
    return made.stop;
  }, []);
  useEffect(() => {
    if (isKnown) announcer.current?.tell(spoken({ trouble, lost }));
  }, [isKnown, trouble, lost]);

  return (
    <div className="visually-hidden" role="status" aria-live="polite">
      {text}
    </div>
  );
}

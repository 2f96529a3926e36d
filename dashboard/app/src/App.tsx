import { Suspense, useCallback, useRef, useState } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { ActionsHost } from "./actions/ActionsHost.tsx";
import { useConnectionState } from "./lib/status.ts";
import { ErrorBoundary } from "./shell/ErrorBoundary.tsx";
import { Glance } from "./shell/Glance.tsx";
import { Header } from "./shell/Header.tsx";
import { Help } from "./shell/Help.tsx";
import css from "./shell/Shell.module.css";
import { SignIn } from "./shell/SignIn.tsx";
import { pageName } from "./shell/trouble.ts";
import { useFocusOnArrival } from "./shell/useFocusOnArrival.ts";
import { useKeyboard } from "./shell/useKeyboard.ts";
import { Empty } from "./ui/Empty.tsx";
import { ContainersView, FleetView, HostView, TimelineView } from "./views.ts";

export function App() {
  return (
    <ErrorBoundary what="the page as a whole">
      <Page />
    </ErrorBoundary>
  );
}

function Page() {
  const [path] = useLocation();
  const main = useRef<HTMLElement>(null);
  const [helping, setHelping] = useState(false);
  const signedOut = useSignedOut();
  useKeyboard(useCallback(() => setHelping(true), []));
  useFocusOnArrival(path, main);
  return (
    <>
      <a className={css.skip} href="#main">
        Skip to the content
      </a>
      <Header onHelp={() => setHelping(true)} signedOut={signedOut} />
      <main id="main" ref={main} className={css.main} tabIndex={-1}>
        {signedOut ? (
          <SignIn />
        ) : (
          <ErrorBoundary key={path} what={`the view "${pageName(path) ?? "Fleet"}"`}>
            <Suspense>
              <Views />
            </Suspense>
          </ErrorBoundary>
        )}
      </main>
      <ErrorBoundary what="the actions' dialogs">
        <ActionsHost />
      </ErrorBoundary>
      <Help open={helping} onOpenChange={setHelping} />
      <Glance />
    </>
  );
}

/** From when the edge wants a token until it has taken one: what lies between is no reason to show the views. */
function useSignedOut(): boolean {
  const state = useConnectionState();
  const [signedOut, setSignedOut] = useState(state === "signed-out");
  const next = state === "signed-out" || (signedOut && (state === "connecting" || state === "waiting"));
  if (next !== signedOut) setSignedOut(next);
  return next;
}

function Views() {
  return (
    <Switch>
      <Route path="/" component={FleetView} />
      <Route path="/hosts/:host" component={HostView} />
      <Route path="/containers" component={ContainersView} />
      <Route path="/timeline" component={TimelineView} />
      <Route>
        <Empty title="There is no such page">
          <Link href="/">Go to the fleet</Link>
        </Empty>
      </Route>
    </Switch>
  );
}

import { Announcer } from "./Announcer.tsx";
import { AskDialog } from "./AskDialog.tsx";
import { BulkPanel } from "./BulkPanel.tsx";

/** Once on the page, beside the routes: the question before an action, the progress of several, and the outcomes aloud. */
export function ActionsHost() {
  return (
    <>
      <AskDialog />
      <BulkPanel />
      <Announcer />
    </>
  );
}

import { ContainerTable } from "./ContainerTable.tsx";

/** Every container of every host. */
export function ContainersView() {
  return (
    <>
      <h1>Containers</h1>
      <ContainerTable />
    </>
  );
}

import { bytes, percent } from "../lib/format.ts";
import { Meter } from "../ui/Meter.tsx";
import css from "./Row.module.css";
import { type ContainerUsage, useUsageFigure } from "./usage.ts";

interface UsageCellProps {
  readonly host: string;
  readonly id: string;
  readonly name: string;
}

/** Rounded as they are shown: what would look the same is not drawn again. */
const cpuOf = ({ cpuPercent }: ContainerUsage) => (cpuPercent === null ? null : Math.round(cpuPercent * 10) / 10);
const coresOf = ({ cores }: ContainerUsage) => cores;
const memoryOf = ({ memoryBytes }: ContainerUsage) => (memoryBytes === null ? null : bytes(memoryBytes));
const limitOf = ({ memoryLimitBytes }: ContainerUsage) => (memoryLimitBytes === null ? null : bytes(memoryLimitBytes));
const shareOf = ({ memoryBytes, memoryLimitBytes }: ContainerUsage) =>
  memoryBytes === null || !memoryLimitBytes ? null : Math.round((memoryBytes / memoryLimitBytes) * 1000) / 10;

/** The bar is the host's cores, the number is Docker's: 100 is one of them. */
export function CpuCell({ host, id, name }: UsageCellProps) {
  const cpu = useUsageFigure(host, id, cpuOf);
  const cores = useUsageFigure(host, id, coresOf);
  const share = cpu === null || !cores ? null : cpu / cores;
  return (
    <span className={css.figure} title={share === null ? undefined : `${percent(share, 1)} of ${cores} cores`}>
      <span className={css.value}>{percent(cpu, cpu !== null && cpu < 9.95 ? 1 : 0)}</span>
      <Meter percent={share} label={`CPU of ${name}`} />
    </span>
  );
}

export function MemoryCell({ host, id, name }: UsageCellProps) {
  const used = useUsageFigure(host, id, memoryOf);
  const limit = useUsageFigure(host, id, limitOf);
  const share = useUsageFigure(host, id, shareOf);
  return (
    <span className={css.figure} title={share === null ? undefined : `${percent(share, 1)} of ${limit}`}>
      <span className={css.value}>
        {used ?? "–"}
        {limit !== null && <span className={css.limit}> / {limit}</span>}
      </span>
      <Meter percent={share} label={`Memory of ${name}`} />
    </span>
  );
}

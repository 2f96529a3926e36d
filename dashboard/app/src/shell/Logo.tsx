export function Logo({ size = 22 }: { readonly size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" aria-hidden="true">
      <rect width="16" height="16" rx="4" fill="#3a5bd9" />
      <path
        d="M3.5 11.5a4.5 4.5 0 0 1 9 0M6.2 11.5a1.8 1.8 0 0 1 3.6 0"
        fill="none"
        stroke="#fff"
        strokeWidth="1.6"
        strokeLinecap="round"
      />
    </svg>
  );
}

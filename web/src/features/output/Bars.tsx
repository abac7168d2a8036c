/** Colour bars at three quarters of full strength, which no display clips, with the frames of the safe areas. */

const BARS = ['#bfbfbf', '#bfbf00', '#00bfbf', '#00bf00', '#bf00bf', '#bf0000', '#0000bf']
const GREYS = ['#000', '#202020', '#404040', '#606060', '#808080', '#a0a0a0', '#c0c0c0', '#e0e0e0', '#fff']

export function Bars() {
  return (
    <div data-testid="output-bars" className="absolute inset-0 flex flex-col">
      <div className="flex flex-[3]">
        {BARS.map((colour) => (
          <div key={colour} className="flex-1" style={{ background: colour }} />
        ))}
      </div>
      <div className="flex flex-1">
        {GREYS.map((colour) => (
          <div key={colour} className="flex-1" style={{ background: colour }} />
        ))}
      </div>
      <div className="absolute inset-[5%] border border-edge mix-blend-difference" />
      <div className="absolute inset-[10%] border border-dashed border-edge mix-blend-difference" />
    </div>
  )
}

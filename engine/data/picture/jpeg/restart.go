package jpeg

// beginMCU deals with the restart marker that is due before an MCU, if one is.
func (d *decoder) beginMCU() {
	d.toGo--
	if d.interval == 0 || d.toGo >= 0 {
		return
	}
	d.skip(d.drop())
	if d.marker == 0 {
		d.advance()
	}
	if want := byte(markerRST0 + d.nextRestart); d.marker == want {
		d.marker = 0
	} else {
		d.resync(want)
	}
	d.nextRestart = (d.nextRestart + 1) & 7
	d.toGo = d.interval - 1
	if d.marker == 0 {
		d.short = false
	} // else there are no data here, and what was missing still is
	d.resetEntropy()
}

// advance goes to the next marker.
func (d *decoder) advance() {
	d.marker = 0
	m, skipped := d.nextMarker()
	d.skip(skipped)
	d.marker = m
}

// resync decides what to do where a restart marker should be and another marker
// is (as jpeg_resync_to_restart): one of the next two restart markers means that
// the data up to it are lost, so it stays; one of the two before is skipped with
// what follows it; any other is taken for the one that should be here. A marker
// of another kind ends the scan's data.
func (d *decoder) resync(want byte) {
	d.damage |= restartOrder
	for {
		restart := d.marker >= markerRST0 && d.marker <= markerRST7
		switch ahead := (d.marker - want) & 7; {
		case d.marker < markerSOF0, restart && ahead >= 6:
			d.advance()
		case !restart, ahead == 1, ahead == 2:
			return
		default:
			d.marker = 0
			return
		}
	}
}

// endMCU accounts for an MCU of which data were missing. The end of the file is
// an error: nobody knows what was in the rest.
func (d *decoder) endMCU(p *scanParams) error {
	if d.arith.beyond > 4 || d.arith.beyond > 0 && d.arith.bad {
		return errCut // an encoder leaves out a few zeros at most
	}
	if !d.short && !d.arith.bad {
		if !d.overrun() {
			return nil
		}
		if d.ended {
			return errCut
		}
		d.short = true
		d.damage |= dataEnd
	}
	if p.start == 0 && p.high == 0 {
		for _, c := range p.comps {
			d.lost += c.blocksInX * c.blocksInY
		}
	}
	return nil
}

// skip notes bytes that belong to nothing.
func (d *decoder) skip(n int) {
	if n > 0 {
		d.damage |= strayBytes
	}
}

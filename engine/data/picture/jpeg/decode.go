package jpeg

import (
	"errors"
	"fmt"
	"io"
)

// Picture is a decoded file.
type Picture struct {
	Pix   []uint8 // RGB, row by row, without padding: 3·W·H bytes
	W, H  int
	EXIF  []byte // the TIFF structure of the first EXIF segment, or nil
	Notes []Note // what was repaired or doubtful
}

// Note is something that a user may want to know of a file that was read. Text is
// the same for all files of which it is true; Detail has the figures.
type Note struct {
	Text, Detail string
	Damage       bool // pixels are not, or may not be, those that were stored
}

// ErrTooManyPixels is returned for pictures of more pixels than the limit.
var ErrTooManyPixels = errors.New("it has too many pixels")

// errCut is wrapped by the error of a file that ends too early.
var errCut = fmt.Errorf("the file is cut short (%w); fetch it again or leave it out", io.ErrUnexpectedEOF)

// damaged makes the error of a file that is broken.
func damaged(format string, a ...any) error {
	return fmt.Errorf("the JPEG is damaged: "+format+"; fetch it again or leave it out", a...)
}

// unsupported makes the error of a file that is not read.
func unsupported(format string, a ...any) error {
	return fmt.Errorf("this kind of JPEG is not read ("+format+"); convert it to an 8-bit baseline JPEG or PNG", a...)
}

// damage is a set of things that were found wrong.
type damage uint

const (
	badCodes damage = 1 << iota
	dataEnd
	restartOrder
	strayBytes
	scanOrder
	strangeMarkers
	moreScans
	noEnd
	incomplete
	missingPlane
)

// damageNotes are the notes of each bit of damage.
var damageNotes = []Note{
	{Text: "some codes of the JPEG do not exist", Damage: true},
	{Text: "data of the JPEG are missing; their blocks are gray", Damage: true},
	{Text: "restart markers of the JPEG are missing or out of order; what is between is lost", Damage: true},
	{Text: "the JPEG has stray bytes, which were skipped"},
	{Text: "the scans of the progressive JPEG are out of order", Damage: true},
	{Text: "the JPEG has markers of unknown meaning, which were skipped"},
	{Text: "the JPEG goes on after its picture; the rest was skipped"},
	{Text: "the JPEG has no end marker"},
	{Text: "scans of the progressive JPEG are missing; the picture is coarser than it was", Damage: true},
	{Text: "a plane of the JPEG is missing; it is gray", Damage: true},
}

// decoder is the state of one file.
type decoder struct {
	reader
	maxPixels int
	w, h      int
	comps     []component
	maxH      int // largest sampling factors
	maxV      int

	progressive, arithmetic bool
	jfif, adobe             bool
	transform               byte // Adobe's
	exif                    []byte
	quant                   [4]*quant
	specs                   [2][4]*huffmanSpec // DC, AC
	tables                  [2][4]*huffman
	arith                   arith

	params      *scanParams
	scans       int
	visited     int // blocks, over all scans
	interval    int // MCUs between restart markers, 0: none
	toGo        int
	nextRestart int
	eobRun      int
	short       bool // data are missing up to the next restart marker
	rowInScan   int  // row of whole MCUs
	lastGoodRow int  // the last of the last scan that had data
	lost        int  // blocks without data

	damage damage
}

// Decode decodes a file. Pictures of more than maxPixels pixels are refused
// before memory is allocated for them.
func Decode(file []byte, maxPixels int) (Picture, error) {
	d := &decoder{reader: reader{data: file}, maxPixels: maxPixels}
	d.arith.init()
	if err := d.read(); err != nil {
		return Picture{}, err
	}
	if err := d.complete(); err != nil {
		return Picture{}, err
	}
	if d.comps[0].coefs != nil {
		d.transform8()
	}
	return Picture{Pix: d.pixels(), W: d.w, H: d.h, EXIF: d.exif, Notes: d.notes()}, nil
}

// read goes through the file's markers up to its end.
func (d *decoder) read() error {
	if len(d.data) < 2 || d.data[0] != 0xFF || d.data[1] != markerSOI {
		return damaged("it does not begin as one")
	}
	d.pos = 2
	for {
		m, skipped := d.nextMarker()
		done := d.scans > 0 && d.comps[0].coefs == nil // there is no more to come
		if !d.ended {
			d.skip(skipped)
		}
		var err error
		switch {
		case d.ended:
			d.damage |= noEnd
			return nil
		case m == markerEOI && d.scans == 0 && d.comps == nil:
			d.pos, err = d.nextPicture()
		case m == markerEOI:
			return nil
		case done && m == markerSOS:
			d.damage |= moreScans
			return nil
		case m == markerSOS:
			err = d.scan()
		default:
			if err = d.header(m); done && err != nil {
				d.damage |= moreScans
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// nextPicture finds the picture that follows a file of tables alone.
func (d *decoder) nextPicture() (int, error) {
	for p := d.pos; p+1 < len(d.data); p++ {
		if d.data[p] == 0xFF && d.data[p+1] == markerSOI {
			return p + 2, nil
		}
	}
	return 0, damaged("it has tables, but no picture")
}

// complete decides whether enough was read to make a picture.
func (d *decoder) complete() error {
	if d.scans == 0 {
		if d.ended {
			return errCut
		}
		return damaged("it has no picture")
	}
	total := 0
	for i := range d.comps {
		c := &d.comps[i]
		total += c.blocksX * c.blocksY
		if c.coefs == nil {
			continue
		}
		if !c.scanned {
			d.damage |= missingPlane
			d.lost += c.blocksX * c.blocksY
		}
		for _, bit := range c.known {
			if d.progressive && bit != 0 {
				d.damage |= incomplete
			}
		}
	}
	if d.ended && d.damage&(missingPlane|incomplete) != 0 {
		return errCut
	}
	if d.lost > total/2 {
		return damaged("data of %d of its %d blocks are missing", min(d.lost, total), total)
	}
	return nil
}

// transform8 turns the coefficients into samples.
func (d *decoder) transform8() {
	smooth := d.smooths()
	var b [64]int32
	for i := range d.comps {
		c := &d.comps[i]
		if c.quant == nil {
			for j := range c.samples {
				c.samples[j] = 128
			}
			continue
		}
		for y := range c.blocksY {
			for x := range c.blocksX {
				coefs := c.coefs[y*(c.stride/8)+x]
				if smooth {
					d.smooth(&coefs, c, y, x)
				}
				last := dequantize(&b, &coefs, &c.natural)
				idct(c.samples[8*y*c.stride+8*x:], c.stride, &b, last)
			}
		}
		c.coefs = nil
	}
}

// notes says what was found wrong.
func (d *decoder) notes() []Note {
	var notes []Note
	for i, n := range damageNotes {
		if d.damage>>i&1 == 0 {
			continue
		}
		if 1<<i == dataEnd && d.lost > 0 {
			n.Detail = fmt.Sprintf("%d blocks", d.lost)
		}
		notes = append(notes, n)
	}
	return notes
}

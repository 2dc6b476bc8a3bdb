package gateway

import (
	_ "embed"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/klauspost/compress/zstd"
)

// events are AuditEvents as fhir.AuditEvent writes them, which others are compressed
// by. What was compressed can be read only by the same, so that the file is never
// changed; a better one gets a number of its own.
//
//go:embed events.dictionary
var events []byte

const (
	// eventsNumber stands in each frame (RFC 8878, section 3.1.1.1.3). From 2^15 on
	// numbers are nobody's.
	eventsNumber = 1 << 15
	// maxEvent is more than any event takes.
	maxEvent = 16 << 20
)

var (
	eventPacker   = must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderDictRaw(eventsNumber, events), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<16)))
	eventUnpacker = must(zstd.NewReader(nil, zstd.WithDecoderDictRaw(eventsNumber, events), zstd.WithDecoderMaxMemory(maxEvent), zstd.WithDecoderConcurrency(0)))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// packed is an AuditEvent as the log keeps it: some three hundred bytes for three
// thousand, most of which are the same in all.
type packed struct {
	hash common.Hash // keccak256 of the event
	text []byte      // a frame of Zstandard (RFC 8878)
}

func pack(event []byte) packed {
	return packed{crypto.Keccak256Hash(event), eventPacker.EncodeAll(event, nil)}
}

// unpack gives the AuditEvent that the log keeps.
func unpack(text []byte) ([]byte, error) {
	if len(text) > 0 && text[0] == '{' { // from before events were packed
		return text, nil
	}
	return eventUnpacker.DecodeAll(text, nil)
}

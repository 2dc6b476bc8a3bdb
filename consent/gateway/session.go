package gateway

import (
	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
)

// session is what a token stands for: an access that was permitted.
type session struct {
	id      string
	patient string // logical id of the Patient at the upstream
	access  *consent.AccessDocument
	grantor common.Address // of the first link: the patient
	grantee common.Address // of the last link: who asks
}

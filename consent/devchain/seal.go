package devchain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/catalyst"
)

// closingPatience is what Close gives to transactions that wait for the clock.
const closingPatience = 2 * time.Second

// sealer makes a block when transactions wait and the wall clock has passed the head's time: at most one a second,
// none when idle. It is a lifecycle of the node's stack.
type sealer struct {
	eth    *eth.Ethereum
	beacon *catalyst.SimulatedBeacon
	gate   *gate
	failed func(error) // called once, from a goroutine of its own, after which the sealer makes no more blocks

	quit func()
	done chan struct{}
}

func (s *sealer) Start() error {
	ctx, cancel := context.WithCancel(context.Background())
	s.quit, s.done = cancel, make(chan struct{})

	txs := make(chan core.NewTxsEvent, 16)
	sub := s.eth.TxPool().SubscribeTransactions(txs, true)
	wake := make(chan struct{}, 1)
	wake <- struct{}{} // the socket may have opened before the subscription
	go func() {
		// Always drained: the pool waits for its subscribers, and a block for the pool.
		for {
			select {
			case <-txs:
				select {
				case wake <- struct{}{}:
				default:
				}
			case <-sub.Err():
				return
			}
		}
	}()
	go func() {
		defer close(s.done)
		defer sub.Unsubscribe()
		if err := s.run(ctx, wake); err != nil {
			go s.failed(err)
		}
	}()
	return nil
}

func (s *sealer) Stop() error {
	s.quit()
	<-s.done
	return nil
}

func (s *sealer) run(ctx context.Context, wake <-chan struct{}) error {
	for {
		select {
		case <-wake:
			if err := s.sealPending(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.Background(), closingPatience)
			defer cancel()
			return s.sealPending(last)
		}
	}
}

// sealPending makes blocks until no transaction waits or ctx is done.
func (s *sealer) sealPending(ctx context.Context) error {
	chain, pool := s.eth.BlockChain(), s.eth.TxPool()
	for {
		// Else it still shows what the last block took in. It knows one waiter at a time: nobody but the sealer, and
		// the beacon on its behalf, may call this.
		if err := pool.Sync(); err != nil {
			return err
		}
		parent := chain.CurrentBlock()
		if pending, _ := pool.Stats(); pending == 0 || !waitUntilAfter(ctx, parent.Time) {
			return nil
		}
		if err := s.seal(); err != nil {
			return err
		}
		// An empty block brings the base fee down to what waits. At its floor it would do so no longer.
		if head := chain.CurrentBlock(); head.GasUsed == 0 && head.BaseFee.Cmp(parent.BaseFee) == 0 {
			return nil
		}
	}
}

// seal makes one block and puts it on disk before anybody can hear of it.
func (s *sealer) seal() error {
	s.gate.Lock()
	defer s.gate.Unlock()
	before := s.eth.BlockChain().CurrentBlock().Hash()
	if s.beacon.Commit() == before { // which keeps its reason to itself
		return errors.New("the embedded chain could not make a block")
	}
	if err := s.eth.ChainDb().SyncKeyValue(); err != nil {
		return fmt.Errorf("put a block of the embedded chain on disk: %w", err)
	}
	return nil
}

// waitUntilAfter waits until the wall clock has passed second, and tells whether it did before ctx was done. It looks
// again every second, as the clock may be set meanwhile.
func waitUntilAfter(ctx context.Context, second uint64) bool {
	for time.Now().Unix() <= int64(second) {
		timer := time.NewTimer(min(time.Until(time.Unix(int64(second)+1, 0)), time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
	return true
}

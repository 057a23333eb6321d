// Package monitor shows how a running sidecar is: metrics for Prometheus, health for
// whoever restarts it, and one status document that the metrics are made of.
package monitor

import "time"

// Status is how a sidecar is at one moment.
type Status struct {
	Version string    `json:"version"`
	Name    string    `json:"name"`
	Time    time.Time `json:"time"`
	Started time.Time `json:"started"`
	State   State     `json:"state"`
	// Problem says what is wrong now, in one line; "" if nothing is.
	Problem string `json:"problem,omitempty"`

	Sources []Source `json:"sources"`
	// Records read, by kind; lines that no record was made of, by class of reason; and
	// records of kinds that are of no use.
	Records map[string]uint64 `json:"records"`
	Refused map[string]uint64 `json:"refused"`
	Skipped uint64            `json:"skipped"`
	// Sensor are counters of Suricata's newest stats record, by their names there.
	Sensor map[string]float64 `json:"sensor,omitempty"`

	// EventTimeDelay is how far the data's clock is behind the wall clock, in seconds;
	// -1 before the first record.
	EventTimeDelay float64  `json:"event_time_delay_seconds"`
	Entities       []Entity `json:"entities"`

	Outputs []Output `json:"outputs"`

	Rules         int    `json:"rules"`
	Reloads       uint64 `json:"reloads"`
	FailedReloads uint64 `json:"failed_reloads"`
	// Findings delivered, by rule.
	Findings    []Finding `json:"findings"`
	Suppressed  uint64    `json:"suppressed"`
	Undelivered int64     `json:"undelivered_findings"`

	Epoch         uint64  `json:"epoch"`  // the last that is committed
	Epochs        uint64  `json:"epochs"` // committed since the start
	Committing    float64 `json:"committing_seconds"`
	CheckpointAge float64 `json:"checkpoint_age_seconds"`

	Memory      int64 `json:"memory_bytes"`       // that the process holds
	MemoryLimit int64 `json:"memory_limit_bytes"` // 0: none
}

// State is what a sidecar does.
type State string

const (
	Starting  State = "starting"
	Waiting   State = "waiting for its store"
	Running   State = "running"
	Reloading State = "reloading"
	Stopping  State = "stopping"
)

// Source is one configured input.
type Source struct {
	Name       string  `json:"name"`
	Files      int     `json:"files"` // that are followed now
	Records    uint64  `json:"records"`
	Rate       float64 `json:"records_per_second"`
	Bytes      int64   `json:"bytes"`     // read
	LagBytes   int64   `json:"lag_bytes"` // there, but not read
	LagSeconds float64 `json:"lag_seconds"`
	Refused    uint64  `json:"refused"`
	// Rotations counts files that were moved away or cut off, Lost those whose rest
	// was not found, Dropped records that are known never to have come.
	Rotations uint64 `json:"rotations"`
	Lost      uint64 `json:"lost"`
	Dropped   uint64 `json:"dropped"`
	Problem   string `json:"problem,omitempty"` // what is wrong with it now
}

// Entity is how many entities of one kind are kept.
type Entity struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	Cap   int    `json:"cap"`
}

// Output is one server that findings are sent to.
type Output struct {
	Name        string `json:"name"`
	Documents   uint64 `json:"documents"` // that it took
	Retries     uint64 `json:"retries"`   // documents that had to be sent again
	DeadLetters uint64 `json:"dead_letters"`
	Waiting     int64  `json:"waiting"` // findings in its queue
	// Dropped are findings that it does not get: it is of best effort, and has no room.
	Dropped    uint64 `json:"dropped"`
	BestEffort bool   `json:"best_effort"`
	Problem    string `json:"problem,omitempty"` // why it takes nothing just now
}

// Finding counts the findings of one rule.
type Finding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Count    uint64 `json:"count"`
}

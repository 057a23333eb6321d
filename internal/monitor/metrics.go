package monitor

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Metric is one metric with the way to get it from a Status.
type Metric struct {
	Name   string
	Type   string // "counter" or "gauge"
	Help   string // one sentence, with the unit
	Labels []string

	// sample calls add for each combination of labels. Labels hold names that the
	// configuration or our code chose, never input.
	sample func(s *Status, add func(v float64, labels ...string))
}

type adder = func(v float64, labels ...string)

// one is a metric without labels.
func one(of func(s *Status) float64) func(*Status, adder) {
	return func(s *Status, add adder) { add(of(s)) }
}

// perSource is a metric of each input.
func perSource(of func(s *Source) float64) func(*Status, adder) {
	return func(s *Status, add adder) {
		for i := range s.Sources {
			add(of(&s.Sources[i]), s.Sources[i].Name)
		}
	}
}

// perOutput is a metric of each server.
func perOutput(of func(o *Output) uint64) func(*Status, adder) {
	return func(s *Status, add adder) {
		for i := range s.Outputs {
			add(float64(of(&s.Outputs[i])), s.Outputs[i].Name)
		}
	}
}

// perName is a metric of each key of a map.
func perName[N uint64 | float64](of func(s *Status) map[string]N) func(*Status, adder) {
	return func(s *Status, add adder) {
		m := of(s)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			add(float64(m[name]), name)
		}
	}
}

// Metrics are all metrics, in the order in which they are shown.
var Metrics = []Metric{
	{"tidewatch_source_lag_bytes", "gauge", "Bytes that are in an input's files and are not read yet.", []string{"source"},
		perSource(func(s *Source) float64 { return float64(s.LagBytes) })},
	{"tidewatch_source_lag_seconds", "gauge", "Seconds since an input with unread bytes was read to its end.", []string{"source"},
		perSource(func(s *Source) float64 { return s.LagSeconds })},
	{"tidewatch_event_time_delay_seconds", "gauge", "Wall clock minus the data's own clock, in seconds; -1 before the first record.", nil,
		one(func(s *Status) float64 { return s.EventTimeDelay })},
	{"tidewatch_checkpoint_age_seconds", "gauge", "Seconds since the last checkpoint was committed, or since the start.", nil,
		one(func(s *Status) float64 { return s.CheckpointAge })},
	{"tidewatch_entities", "gauge", "Entities that are kept in memory, by kind.", []string{"kind"},
		func(s *Status, add adder) {
			for _, e := range s.Entities {
				add(float64(e.Count), e.Kind)
			}
		}},
	{"tidewatch_entities_max", "gauge", "Entities that are kept at most, by kind.", []string{"kind"},
		func(s *Status, add adder) {
			for _, e := range s.Entities {
				add(float64(e.Cap), e.Kind)
			}
		}},
	{"tidewatch_undelivered_findings", "gauge", "Findings that an output has not taken yet.", nil,
		one(func(s *Status) float64 { return float64(s.Undelivered) })},

	{"tidewatch_up", "gauge", "1 while records are read: not while the sidecar starts, reloads or stops.", nil,
		one(func(s *Status) float64 {
			if s.State == Running {
				return 1
			}
			return 0
		})},
	{"tidewatch_start_time_seconds", "gauge", "When the sidecar was started, in Unix seconds.", nil,
		one(func(s *Status) float64 { return float64(s.Started.UnixMilli()) / 1000 })},
	{"tidewatch_source_files", "gauge", "Files of an input that are followed.", []string{"source"},
		perSource(func(s *Source) float64 { return float64(s.Files) })},
	{"tidewatch_source_records_total", "counter", "Records read from an input.", []string{"source"},
		perSource(func(s *Source) float64 { return float64(s.Records) })},
	{"tidewatch_source_bytes_total", "counter", "Bytes read from an input's files.", []string{"source"},
		perSource(func(s *Source) float64 { return float64(s.Bytes) })},
	{"tidewatch_source_refused_lines_total", "counter", "Lines of an input that no record could be made of.", []string{"source"},
		perSource(func(s *Source) float64 { return float64(s.Refused) })},
	{"tidewatch_source_rotations_total", "counter", "Files of an input that were moved away, removed or cut off.", []string{"source"},
		perSource(func(s *Source) float64 { return float64(s.Rotations) })},
	{"tidewatch_source_lost_files_total", "counter", "Files of an input that were gone before they were read to their end.", []string{"source"},
		perSource(func(s *Source) float64 { return float64(s.Lost) })},
	{"tidewatch_source_dropped_records_total", "counter", "Records that are known never to have reached an input.", []string{"source"},
		perSource(func(s *Source) float64 { return float64(s.Dropped) })},
	{"tidewatch_records_total", "counter", "Records read, by kind.", []string{"kind"},
		perName(func(s *Status) map[string]uint64 { return s.Records })},
	{"tidewatch_refused_lines_total", "counter", "Lines that no record could be made of, by class of reason.", []string{"reason"},
		perName(func(s *Status) map[string]uint64 { return s.Refused })},
	{"tidewatch_skipped_records_total", "counter", "Records of kinds that tidewatch has no use for.", nil,
		one(func(s *Status) float64 { return float64(s.Skipped) })},
	{"tidewatch_findings_total", "counter", "Findings delivered, by rule and its severity.", []string{"rule", "severity"},
		func(s *Status, add adder) {
			for _, f := range s.Findings {
				add(float64(f.Count), f.Rule, f.Severity)
			}
		}},
	{"tidewatch_suppressed_findings_total", "counter", "Findings that repeat what was said and were held back.", nil,
		one(func(s *Status) float64 { return float64(s.Suppressed) })},
	{"tidewatch_output_documents_total", "counter", "Documents that an output's server took.", []string{"output"},
		perOutput(func(o *Output) uint64 { return o.Documents })},
	{"tidewatch_output_retries_total", "counter", "Documents that had to be sent to an output again.", []string{"output"},
		perOutput(func(o *Output) uint64 { return o.Retries })},
	{"tidewatch_output_dead_letters_total", "counter", "Documents that an output's server will never take, kept in a file.", []string{"output"},
		perOutput(func(o *Output) uint64 { return o.DeadLetters })},
	{"tidewatch_output_dropped_findings_total", "counter", "Findings that an output of best effort had no room for.", []string{"output"},
		perOutput(func(o *Output) uint64 { return o.Dropped })},
	{"tidewatch_output_waiting_findings", "gauge", "Findings that wait for an output.", []string{"output"},
		perOutput(func(o *Output) uint64 { return uint64(o.Waiting) })},
	{"tidewatch_epochs_total", "counter", "Checkpoints committed since the start.", nil,
		one(func(s *Status) float64 { return float64(s.Epochs) })},
	{"tidewatch_commit_seconds_total", "counter", "Seconds spent on committing checkpoints.", nil,
		one(func(s *Status) float64 { return s.Committing })},
	{"tidewatch_rules", "gauge", "Rules in force.", nil,
		one(func(s *Status) float64 { return float64(s.Rules) })},
	{"tidewatch_reloads_total", "counter", "Reloads that succeeded.", nil,
		one(func(s *Status) float64 { return float64(s.Reloads) })},
	{"tidewatch_failed_reloads_total", "counter", "Reloads that failed: the rules before stayed in force.", nil,
		one(func(s *Status) float64 { return float64(s.FailedReloads) })},
	{"tidewatch_memory_bytes", "gauge", "Bytes of memory that the process holds.", nil,
		one(func(s *Status) float64 { return float64(s.Memory) })},
	{"tidewatch_memory_limit_bytes", "gauge", "Bytes of memory that the process tries to stay below; 0 for no limit.", nil,
		one(func(s *Status) float64 { return float64(s.MemoryLimit) })},
	{"tidewatch_suricata", "gauge", "Counters of Suricata's newest stats record, by their names there.", []string{"counter"},
		perName(func(s *Status) map[string]float64 { return s.Sensor })},
}

// AppendMetrics appends the status in Prometheus' text format, version 0.0.4.
func AppendMetrics(b []byte, s *Status) []byte {
	for i := range Metrics {
		m := &Metrics[i]
		b = append(b, "# HELP "+m.Name+" "+m.Help+"\n# TYPE "+m.Name+" "+m.Type+"\n"...)
		m.sample(s, func(v float64, labels ...string) {
			b = append(b, m.Name...)
			for i, l := range labels {
				b = append(b, "{,"[min(i, 1)])
				b = append(b, m.Labels[i]+`="`+escapeLabel.Replace(l)+`"`...)
			}
			if len(labels) > 0 {
				b = append(b, '}')
			}
			b = append(b, ' ')
			b = strconv.AppendFloat(b, v, 'g', -1, 64)
			b = append(b, '\n')
		})
	}
	return b
}

var escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

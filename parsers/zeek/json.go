package zeek

func (r *reader) jsonText(v []byte) string   { return "" }
func (r *reader) jsonList(v []byte) []string { return nil }
func (r *reader) jsonTTLs(v []byte) []uint32 { return nil }
func (r *reader) jsonTime(v []byte) int64    { return 0 }

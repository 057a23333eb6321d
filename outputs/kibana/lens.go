package kibana

import "fmt"

// object is a JSON object.
type object = map[string]any

// layer is the name of the only layer of a chart.
const layer = "layer"

// lens returns the attributes of a chart, without its references: those of Kibana 8.9,
// which later versions bring up to date by themselves.
func (p *panel) lens() object {
	columns := object{}
	var order []string
	for i := range p.By {
		id := fmt.Sprint("by", i)
		order, columns[id] = append(order, id), p.By[i].column()
	}
	for i := range p.Show {
		id := fmt.Sprint("show", i)
		order, columns[id] = append(order, id), p.Show[i].column()
	}
	kind, visualization := p.visualization()
	return object{
		"title": p.Title, "description": "", "visualizationType": kind, "type": "lens",
		"state": object{
			"visualization": visualization,
			"query":         object{"query": kql(p.Where), "language": "kuery"},
			"filters":       []any{},
			"datasourceStates": object{
				"formBased": object{"layers": object{layer: object{"columns": columns, "columnOrder": order, "incompleteColumns": object{}, "sampling": 1}}},
				"textBased": object{"layers": object{}},
			},
			"internalReferences": []any{}, "adHocDataViews": object{},
		},
	}
}

func (b *bucket) column() object {
	c := object{"label": b.label, "customLabel": true, "isBucketed": true, "sourceField": b.field}
	switch {
	case b.size > 0:
		c["operationType"], c["scale"], c["dataType"] = "terms", "ordinal", "string"
		if b.numeric {
			c["dataType"] = "number"
		}
		c["params"] = object{
			"size": b.size, "orderBy": object{"type": "column", "columnId": "show0"}, "orderDirection": "desc",
			"otherBucket": false, "missingBucket": false, "parentFormat": object{"id": "terms"},
			"accuracyMode": true, // or small counts of several indices would not add up
		}
	case b.bounds != nil:
		var ranges []any
		for i, from := range b.bounds {
			r := object{"from": from, "to": nil, "label": b.names[i]}
			if i+1 < len(b.bounds) {
				r["to"] = b.bounds[i+1]
			}
			ranges = append(ranges, r)
		}
		c["operationType"], c["scale"], c["dataType"] = "range", "ordinal", "string"
		c["params"] = object{"type": "range", "ranges": ranges, "maxBars": "auto", "parentFormat": object{"id": "range", "params": object{"template": "arrow_right", "replaceInfinity": true}}}
	default:
		c["operationType"], c["scale"], c["dataType"] = "date_histogram", "interval", "date"
		c["params"] = object{"interval": "auto", "includeEmptyRows": true, "dropPartials": false}
	}
	return c
}

func (m *measure) column() object {
	c := object{
		"label": m.label, "customLabel": true, "dataType": "number", "operationType": m.op, "scale": "ratio", "isBucketed": false,
		"sourceField": m.field, "params": object{"emptyAsNull": true},
	}
	switch m.op {
	case "count":
		c["sourceField"] = "___records___"
	case "max", "average":
		c["params"] = object{}
	}
	return c
}

// visualization returns the kind of a chart, and how it shows its columns.
func (p *panel) visualization() (kind string, v object) {
	var shown []string
	for i := range p.Show {
		shown = append(shown, fmt.Sprint("show", i))
	}
	switch p.Shape {
	case bars:
		return "lnsXY", p.xy("bar_stacked", shown)
	case across:
		return "lnsXY", p.xy("bar_horizontal", shown)
	case heat:
		return "lnsHeatmap", object{
			"shape": "heatmap", "layerId": layer, "layerType": "data", "yAccessor": "by0", "xAccessor": "by1", "valueAccessor": "show0",
			"legend": object{"isVisible": true, "position": "right", "type": "heatmap_legend"},
			"gridConfig": object{
				"type": "heatmap_grid", "isCellLabelVisible": true, "isXAxisLabelVisible": true, "isYAxisLabelVisible": true,
				"isXAxisTitleVisible": true, "isYAxisTitleVisible": true,
			},
		}
	case figure:
		return "lnsMetric", object{"layerId": layer, "layerType": "data", "metricAccessor": "show0"}
	}
	var columns []any
	for i := range p.By {
		columns = append(columns, object{"columnId": fmt.Sprint("by", i)})
	}
	for _, id := range shown {
		columns = append(columns, object{"columnId": id, "alignment": "right"})
	}
	return "lnsDatatable", object{"layerId": layer, "layerType": "data", "columns": columns}
}

func (p *panel) xy(series string, shown []string) object {
	data := object{"layerId": layer, "layerType": "data", "seriesType": series, "accessors": shown, "position": "top", "showGridlines": false}
	data["xAccessor"] = fmt.Sprint("by", len(p.By)-1)
	if len(p.By) > 1 {
		data["splitAccessor"] = "by0"
	}
	return object{
		"preferredSeriesType": series, "legend": object{"isVisible": true, "position": "right"}, "valueLabels": "hide", "fittingFunction": "None",
		"axisTitlesVisibilitySettings": object{"x": false, "yLeft": true, "yRight": true},
		"layers":                       []any{data},
	}
}

import Diagnostics

/// The text exposition format of Prometheus, version 0.0.4.
enum PrometheusText {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    static func of(_ families: [MetricFamily]) -> String {
        var text = ""
        text.reserveCapacity(4096)
        for family in families {
            let name = family.metric.name
            text += "# HELP \(name) \(escaped(family.metric.help, quote: false))\n"
            text += "# TYPE \(name) \(family.metric.kind.name)\n"
            for series in family.series {
                let labels = zip(family.metric.labels, series.labels).map { "\($0)=\"\(escaped($1, quote: true))\"" }
                switch series.value {
                case .number(let value): text += line(name, labels, number(value))
                case .histogram(let bounds, let counts, let sum):
                    let limits = bounds.map(number) + ["+Inf"]
                    for (limit, count) in zip(limits, counts) {
                        text += line("\(name)_bucket", labels + ["le=\"\(limit)\""], String(count))
                    }
                    text += line("\(name)_sum", labels, number(sum))
                    text += line("\(name)_count", labels, String(counts.last ?? 0))
                }
            }
        }
        return text
    }

    private static func line(_ name: String, _ labels: [String], _ value: String) -> String {
        labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels.joined(separator: ","))} \(value)\n"
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return Int64(exactly: value).map { String($0) } ?? String(value)
    }

    private static func escaped(_ text: String, quote: Bool) -> String {
        var result = text.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
        if quote { result = result.replacing("\"", with: "\\\"") }
        return result
    }
}

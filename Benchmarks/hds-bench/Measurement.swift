import Glibc
import WireText

/// One line of the table: a value beside its limit, where there is one.
struct Measurement: Sendable {
    let name: String
    let value: Double
    let unit: String
    var limit: Double?
    var limitName: String?

    init(_ name: String, _ value: Double, _ unit: String, limit: Double? = nil, _ limitName: String? = nil) {
        self.name = name
        self.value = value
        self.unit = unit
        self.limit = limit
        self.limitName = limitName
    }

    var json: String {
        var json = JSONWriter()
        json.beginObject()
        json.member("name", name)
        json.name("value")
        json.raw(Self.number(value))
        json.member("unit", unit)
        if let limit {
            json.name("limit")
            json.raw(Self.number(limit))
        }
        json.member("limit_name", ifPresent: limitName)
        json.endObject()
        return json.text()
    }

    static func number(_ value: Double) -> String {
        guard value.isFinite else { return "null" }
        if abs(value) >= 100 { return String(Int64(value.rounded())) }
        let scaled = Int64((value * 1000).rounded())
        let fraction = String(abs(scaled) % 1000)
        return (scaled < 0 ? "-" : "") + "\(abs(scaled) / 1000)." + String(repeating: "0", count: 3 - fraction.count)
            + fraction
    }
}

/// The table as a person reads it.
enum Table {
    static func print(_ measurements: [Measurement]) {
        let rows = measurements.map { line -> [String] in
            [
                line.name, Measurement.number(line.value), line.unit, line.limit.map(Measurement.number) ?? "",
                line.limitName ?? "",
            ]
        }
        let all = [["what", "value", "unit", "limit", "the limit is"]] + rows
        let widths = (0..<5).map { column in all.map { $0[column].count }.max() ?? 0 }
        for row in all {
            var text = ""
            for (column, cell) in row.enumerated() {
                let space = String(repeating: " ", count: widths[column] - cell.count)
                text += (column == 1 || column == 3 ? space + cell : cell + space) + "  "
            }
            Swift.print(text)
        }
    }
}

/// CPU time of the process so far, in seconds.
func processCPUSeconds() -> Double {
    let (user, system) = processCPU()
    return user + system
}

func processCPU() -> (user: Double, system: Double) {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return (
        Double(usage.ru_utime.tv_sec) + Double(usage.ru_utime.tv_usec) / 1_000_000,
        Double(usage.ru_stime.tv_sec) + Double(usage.ru_stime.tv_usec) / 1_000_000
    )
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

/// The value below which `share` of the samples lie; the samples are in any order.
func percentile(_ samples: [Double], _ share: Double) -> Double {
    guard !samples.isEmpty else { return .nan }
    let sorted = samples.sorted()
    return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
}

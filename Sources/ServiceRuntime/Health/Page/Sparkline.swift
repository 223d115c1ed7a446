import WireText

/// A small picture of an hour: a line over a plain ground, with the newest value beside it and the greatest named.
struct Sparkline {
    let title: String
    let points: [(time: Timestamp, value: Double?)]
    /// The end of the hour that is shown.
    let now: Timestamp
    /// A value for people, with its unit.
    let format: (Double) -> String

    private static let width = 240.0
    private static let height = 44.0
    private static let span = 3600.0

    var html: HTML {
        let known = points.compactMap(\.value)
        let newest = points.last?.value.map(format) ?? "–"
        let greatest = known.max().map(format) ?? "–"
        let spoken =
            known.isEmpty
            ? "\(title): nothing measured yet" : "\(title) in the last hour: now \(newest), at most \(greatest)"
        return """
            <figure class="spark">
            <figcaption>\(title)</figcaption>
            <p class="now">\(newest)</p>
            <svg role="img" aria-label="\(spoken)" viewBox="0 0 \(Self.number(Self.width)) \(Self.number(Self.height))" \
            preserveAspectRatio="none">\(lines)</svg>
            <p class="most">at most \(greatest)</p>
            </figure>
            """
    }

    /// A line for each stretch without a gap.
    private var lines: HTML {
        let top = max(points.compactMap(\.value).max() ?? 0, .leastNonzeroMagnitude)
        var stretches: [[(x: Double, y: Double)]] = [[]]
        for point in points {
            let age = Double(now.milliseconds - point.time.milliseconds) / 1000
            guard let value = point.value, age <= Self.span, age >= 0 else {
                if stretches.last?.isEmpty == false { stretches.append([]) }
                continue
            }
            let (x, y) = (Self.width * (1 - age / Self.span), Self.height - 2 - (Self.height - 6) * value / top)
            stretches[stretches.count - 1].append((x, y))
        }
        let base = Self.number(Self.height - 1)
        let ground: HTML = """
            <line class="base" x1="0" y1="\(base)" x2="\(Self.number(Self.width))" y2="\(base)"/>
            """
        return HTML(
            [ground]
                + stretches.filter { !$0.isEmpty }.map { stretch -> HTML in
                    let (first, last) = (stretch[0], stretch[stretch.count - 1])
                    // A lone sample is a line as long as its interval.
                    let drawn = stretch.count > 1 ? stretch : [(first.x - 1, first.y), first]
                    let line = drawn.map { "\(Self.number($0.x)),\(Self.number($0.y))" }.joined(separator: " ")
                    let (left, right) = (Self.number(drawn[0].x), Self.number(last.x))
                    return """
                        <polygon class="area" points="\(left),\(base) \(line) \(right),\(base)"/>\
                        <polyline class="line" points="\(line)"/>
                        """
                })
    }

    /// To a tenth, as SVG reads it.
    static func number(_ value: Double) -> String {
        guard value.isFinite else { return "0" }
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths < 0 ? "-" : "")\(abs(tenths) / 10).\(abs(tenths) % 10)"
    }
}

/// Figures as people read them.
enum Figure {
    static func rate(_ value: Double) -> String { "\(short(value)) /s" }

    static func seconds(_ value: Double) -> String {
        value < 0.000_999_5
            ? "\(short(value * 1_000_000)) µs" : value < 0.999_5 ? "\(short(value * 1000)) ms" : "\(short(value)) s"
    }

    static func share(_ value: Double) -> String { "\(short(value * 100)) %" }

    static func bytes(_ value: Double) -> String {
        value < 1_073_741_824 ? "\(short(value / 1_048_576)) MiB" : "\(short(value / 1_073_741_824)) GiB"
    }

    /// One decimal below ten, none above.
    private static func short(_ value: Double) -> String {
        value < 9.95 ? Sparkline.number(value) : value.isFinite && value < 1e15 ? "\(Int(value.rounded()))" : "–"
    }
}

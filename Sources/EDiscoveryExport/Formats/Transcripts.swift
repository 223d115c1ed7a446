import EDiscoveryModel
import WireText

/// `html/`: what was said in each space, page by page, for people: days, answers, edits with their history, deletions, files,
/// context, problems. Self-contained, without scripts; a policy in each page forbids whatever could be loaded.
final class Transcripts: ExportWriter {
    private let folder: PackageFolder
    private let settings: ExportSettings
    private var page: PackageFile?
    private var pageNumber = 0
    private var itemsOnPage = 0
    private var itemsOfSpace = 0
    private var day = ""
    private var recent = RecentItems()
    private var index: (file: PackageFile, place: String)?

    init(_ folder: PackageFolder, _ settings: ExportSettings) {
        self.folder = folder
        self.settings = settings
    }

    func begin(_ space: SpacePlace) throws {
        pageNumber = 0
        itemsOfSpace = 0
        recent = RecentItems()
        try open(space)
    }

    func add(_ entry: ExportEntry) throws {
        if itemsOnPage == settings.pageLength {
            try close(entry.space, hasNext: true)
            try open(entry.space)
        }
        guard let page else { return }
        let time = ShownTime(entry.item.published, in: settings.zone)
        if time.date != day {
            day = time.date
            try page.write("<h2 class=\"day\" id=\"d\(day)\"><span>\(time.heading)</span></h2>\n")
        }
        let parent = entry.item.parent.map { ($0, recent.find($0)) }
        try page.write(TranscriptItem(entry: entry, zone: settings.zone, parent: parent).html)
        recent.add(entry, page: Self.name(entry.space, pageNumber), clock: time.clock(seconds: false))
        itemsOnPage += 1
        itemsOfSpace += 1
    }

    func end(_ space: SpacePlace) throws {
        try close(space, hasNext: false)
        let rows = try index ?? folder.scratch("spaces")
        index = rows
        let pages = pageNumber == 1 ? "" : ", \(pageNumber) pages"
        try rows.file.write(
            "<li><a href=\"\(Self.name(space, 1))\"><bdi>\(XML.escape(space.title))</bdi></a> "
                + "<span class=\"quiet\">\(itemsOfSpace) \(itemsOfSpace == 1 ? "item" : "items")\(pages)</span></li>\n")
    }

    func finish() throws {
        let file = try folder.file("html/index.html")
        try file.write(TranscriptStyle.head(title: "Export \(settings.report)"))
        try file.write(
            """
            <header><p class="quiet">Matter \(XML.escape(settings.matter))</p>
            <h1>Report <bdi>\(XML.escape(settings.report))</bdi></h1>
            <p class="quiet">Made \(ShownTime(settings.created, in: settings.zone).short), times in \(settings.zone.name). \
            What could not be exported stands in problems.csv. Who wrote what and when is the word of the cloud that kept it.</p></header>
            <main><ul class="spaces">

            """)
        if let index {
            try index.file.close()
            let reader = try PackageReader(index.place)
            while let chunk = try reader.read() { try file.write(chunk) }
        } else {
            try file.write("<li class=\"quiet\">The report found nothing.</li>\n")
        }
        try file.write("</ul></main>\n</body>\n</html>\n")
        try file.close()
    }

    private static func name(_ space: SpacePlace, _ page: Int) -> String {
        let digits = String(page)
        return "\(space.stem)-\(String(repeating: "0", count: max(0, 6 - digits.utf8.count)))\(digits).html"
    }

    private func open(_ space: SpacePlace) throws {
        pageNumber += 1
        guard pageNumber <= SpacePlace.limit else { throw DiagnosedOrder.tooMany }
        itemsOnPage = 0
        day = ""
        let page = try folder.file("html/" + Self.name(space, pageNumber))
        self.page = page
        try page.write(TranscriptStyle.head(title: space.title))
        let people = space.space.participants.map { "<bdi>\(XML.escape($0.described))</bdi>" }.joined(separator: ", ")
        let former = space.space.formerParticipants.map { "<bdi>\(XML.escape($0.described))</bdi>" }
            .joined(separator: ", ")
        try page.write(
            """
            <header><p class="quiet"><a href="index.html">Report <bdi>\(XML.escape(settings.report))</bdi></a>, \
            matter <bdi>\(XML.escape(settings.matter))</bdi></p>
            <h1><bdi>\(XML.escape(space.title))</bdi></h1>
            <p class="quiet">Times in \(settings.zone.name). Space \(XML.escape(ExportName.visible(space.space.id))).</p>

            """)
        if pageNumber == 1 {
            if !people.isEmpty { try page.write("<p class=\"people\">In the space: \(people)</p>\n") }
            if !former.isEmpty { try page.write("<p class=\"people\">Formerly: \(former)</p>\n") }
        }
        try page.write("</header>\n")
        try page.write(pageNumber == 1 ? "<main>\n" : neighbours(space, hasNext: false) + "<main>\n")
    }

    private func close(_ space: SpacePlace, hasNext: Bool) throws {
        try page?.write("</main>\n\(neighbours(space, hasNext: hasNext))</body>\n</html>\n")
        try page?.close()
        page = nil
    }

    private func neighbours(_ space: SpacePlace, hasNext: Bool) -> String {
        var links: [String] = []
        if pageNumber > 1 { links.append("<a href=\"\(Self.name(space, pageNumber - 1))\">earlier</a>") }
        links.append("page \(pageNumber)")
        if hasNext { links.append("<a href=\"\(Self.name(space, pageNumber + 1))\">later</a>") }
        return "<nav>\(links.joined(separator: " · "))</nav>\n"
    }
}

/// What an answer shows of the message that it answers; of the last ones only, so that memory does not grow.
struct RecentItems {
    struct Shown {
        let link: String
        let author: String
        let clock: String
        let start: String
    }

    private static let limit = 2000
    private var items: [String: Shown] = [:]
    private var order: [String] = []
    private var oldest = 0

    func find(_ id: String) -> Shown? { items[id] }

    mutating func add(_ entry: ExportEntry, page: String, clock: String) {
        let text = entry.item.text ?? entry.item.files.first?.name ?? ""
        let shown = Shown(
            link: "\(page)#\(entry.exported.number)", author: entry.item.author.shown, clock: clock,
            start: ExportName.visible(Self.line(text), limit: 120))
        if order.count < Self.limit {
            order.append(entry.item.id)
        } else {
            items[order[oldest]] = nil
            order[oldest] = entry.item.id
            oldest = (oldest + 1) % Self.limit
        }
        items[entry.item.id] = shown
    }

    /// The beginning in one line.
    private static func line(_ text: String) -> String {
        var line = String.UnicodeScalarView()
        for scalar in text.unicodeScalars.prefix(80) {
            line.append(["\n", "\r", "\t"].contains(scalar) ? " " : scalar)
        }
        return String(line)
    }
}

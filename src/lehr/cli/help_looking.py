"""What `lehr results` and `lehr report` print for --help."""

RESULTS_HELP = """lehr results: what a sweep came to: means and standard deviations over seeds.

Usage: lehr results DIR [key=value ...]

DIR is the directory of a sweep, or any other that runs lie in.

Keys and their defaults:
  metrics=[test/elbo,...]  which; test/* for all of test. By default ELBO, rate, distortion, active units and IWAE bound
  by=[kl.weight,...]       the swept keys to group by, and to average over the others; by default all but seed
  sort=test/elbo           a metric, best first where it is known which end is better, else lowest; or a key;
                           sort=-test/elbo the other way round. By default the keys, in their order
  runs=false               true: one row a run, without averages
  format=table             what is printed: table | csv | markdown
  out=FILE                 instead, FILE.csv, FILE.md or FILE.parquet (pip install 'lehr[parquet]')

Examples:
  lehr results outputs/sweep
  lehr results outputs/sweep by=[kl.weight] metrics=[test/rate,test/distortion]
  lehr results outputs/sweep sort=test/elbo runs=true
  lehr results outputs/sweep out=sweep.md

CSV and Parquet have exact numbers: of each metric /mean, /std (n - 1) and /n. In Python, lehr.load_sweep(DIR) gives all
of it as a pandas DataFrame.
"""

REPORT_HELP = """lehr report: what a run or a sweep came to, as a page to look at.

Usage: lehr report DIR [DIR ...] [key=value ...]

DIR is a run, a sweep, or a folder that runs lie in; several are reported on together, as one sweep over all that they
differ in. The page is report.html in DIR, of several directories in outputs/reports; it needs nothing but itself.

Keys and their defaults:
  format=html              html: a page | md: Markdown, with its charts in report/ | png, pdf: all of it as one picture
  metrics=[test/elbo,...]  of a sweep, what may be chosen in the page, the first before anything is; test/* for all of
                           test. By default ELBO, rate, distortion, active units, and what else was measured
  runs=false               true: of a sweep, the page of each run too, which a click on it leads to
  out=FILE                 where to write it: FILE.html, FILE.md, FILE.png or FILE.pdf
  watch=false              true: write the page again whenever something changes, until all has ended; the page reads
                           itself anew meanwhile
  every=10                 seconds from one look to the next

Examples:
  lehr report outputs/run
  lehr report outputs/sweep runs=true
  lehr report outputs/sweep watch=true
  lehr report outputs/sweep metrics=[test/rate,reconstruction/psnr] format=pdf
  lehr report outputs/one outputs/other

A sweep ends in its report by itself (report=false: not), and a run with report=true.
"""

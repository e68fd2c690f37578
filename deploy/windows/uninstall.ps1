#Requires -Version 5.1
<#
.SYNOPSIS
Removes scope-agent: service, event source, environments, config and state. Data that was acquired is not touched.
.DESCRIPTION
Run as administrator. It refuses while acquisitions wait that were not delivered yet.
#>
[CmdletBinding()]
param(
    # Remove it although acquisitions wait that are not delivered. Their files stay where they are.
    [switch]$EvenIfNotDelivered,
    # Keep config, state, journals and logs.
    [switch]$KeepData,
    # Without it the folder that this script lies in, where that is an installation, or that the service runs from.
    [string]$InstallDir,
    # Without it what the installer was told; such a folder of somebody's choice is not removed, it may hold more.
    [string]$DataDir
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$registered = 'HKLM:\SYSTEM\CurrentControlSet\Services\ScopeAgent'

function Invoke-Program([string]$Program, [string[]]$Arguments) {
    # Standard error of a native program must not end the script, nor may the code of another program pass for its own.
    $ErrorActionPreference = 'Continue'
    $global:LASTEXITCODE = 1
    try { & $Program @Arguments 2>&1 | ForEach-Object { Write-Host "$_" } } catch { Write-Host "$_" }
    return $LASTEXITCODE
}

function Get-FullPath([string]$Path) {
    return $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path)
}

function Find-InstallDir {
    # Where the service runs from, if this script put it there. A PowerShell of 32 bit has another Program Files.
    $place = if ($env:ProgramW6432) { $env:ProgramW6432 } else { $env:ProgramFiles }
    $place = Join-Path $place 'scope-agent'
    $service = Get-ItemProperty -LiteralPath $registered -ErrorAction SilentlyContinue
    if ($service -and $service.ImagePath -match '([A-Za-z]:\\[^":]*)\\[^\\":]+\\service_host\.py') {
        $found = $Matches[1]
        if (Test-Path -LiteralPath (Join-Path $found 'scope-agent.cmd')) { return $found }
    }
    return $place
}

function Test-Administrator {
    $me = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
    return $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

$me = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    Write-Host 'scope-agent: run this as administrator'
    exit 1
}

if (-not $InstallDir) {
    $InstallDir = if (Test-Path -LiteralPath (Join-Path $PSScriptRoot 'scope-agent.cmd')) { $PSScriptRoot } else { Find-InstallDir }
}
$InstallDir = Get-FullPath $InstallDir
$dataNote = Join-Path $InstallDir 'data-dir.txt'
if (-not $DataDir) {
    $DataDir = Join-Path $env:ProgramData 'scope-agent'
    if (Test-Path -LiteralPath $dataNote) {
        $said = Get-Content -Raw -Encoding UTF8 -LiteralPath $dataNote
        if ("$said".Trim() -ne $DataDir) {
            $DataDir = "$said".Trim()
            $KeepData = $true
        }
    }
}

$DataDir = Get-FullPath $DataDir

# In a folder of somebody's choice nothing else is ours.
$environments = @(Get-ChildItem -Directory -LiteralPath $InstallDir -ErrorAction SilentlyContinue |
    Where-Object { $_.Name -match '^\d[^-]*-\d{14}$' } | Sort-Object -Property CreationTime -Descending |
    ForEach-Object { $_.FullName })
$programs = @($environments | ForEach-Object { Join-Path $_ 'Scripts\scope-agent.exe' } |
    Where-Object { Test-Path -LiteralPath $_ })
if ($programs.Count -gt 0) {
    $env:PYTHONIOENCODING = 'cp{0}:backslashreplace' -f [Console]::OutputEncoding.CodePage
    $configFile = Join-Path $DataDir 'config.toml'
    $arguments = @('service', 'uninstall')
    if (Test-Path -LiteralPath $configFile) { $arguments += @('-c', $configFile) }
    if ($EvenIfNotDelivered) { $arguments += '--even-if-not-delivered' }
    $failed = Invoke-Program $programs[0] $arguments
    if ($failed -ne 0) { exit $failed }
}
elseif (Test-Path -LiteralPath $registered) {
    Write-Host "scope-agent: the service is there, but no program of it in ${InstallDir}: name its folder with -InstallDir"
    exit 1
}

# The folder that somebody is in cannot be removed.
Set-Location -LiteralPath "$env:SystemDrive\"
$ours = $environments + @('scope-agent.cmd', 'data-dir.txt', 'uninstall.ps1' | ForEach-Object { Join-Path $InstallDir $_ })
if (-not $KeepData) { $ours += $DataDir }
foreach ($path in $ours) { Remove-Item -Recurse -Force -LiteralPath $path -ErrorAction SilentlyContinue }
$more = @(Get-ChildItem -Force -LiteralPath $InstallDir -ErrorAction SilentlyContinue)
if ($more.Count -eq 0) { Remove-Item -Force -LiteralPath $InstallDir -ErrorAction SilentlyContinue }
[Environment]::SetEnvironmentVariable('SCOPE_AGENT_CONFIG', $null, 'Machine')
$left = @($ours | Where-Object { Test-Path -LiteralPath $_ })
if ($left.Count -gt 0) {
    Write-Host "scope-agent: the service is removed, but something is in use: close it, then remove $($left -join ', ')"
    exit 1
}
if ($more.Count -gt 0) { Write-Host "what else lies in $InstallDir stays there" }
if ($KeepData) { Write-Host "config and state stay in $DataDir" }
Write-Host 'scope-agent is removed; hooks in the environments of acquisition software: scope-agent hook uninstall --python EXE'
exit 0
